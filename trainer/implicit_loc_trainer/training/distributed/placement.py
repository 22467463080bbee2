"""Where the processes of a training run: what the recipe, torchrun or SLURM say."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from implicit_loc_trainer.recipes.sections import ConfigError, OptimizerConfig, RunConfig


@dataclass(frozen=True)
class Placement:
    """The processes of a training, each with a device of its own.

    Attributes:
        on_gpu: whether the devices are GPUs.
        devices: processes on each machine.
        machines: how many.
        launcher: what started the processes: 'torchrun', 'slurm', or 'none' yet.
    """

    on_gpu: bool
    devices: int = 1
    machines: int = 1
    launcher: str = 'none'

    @property
    def processes(self) -> int:
        """In all."""
        return self.devices * self.machines

    @property
    def must_be_launched(self) -> bool:
        """Whether this process has yet to start those that train."""
        return self.launcher == 'none' and self.processes > 1

    def environment(self) -> ClusterEnvironment:
        """For Lightning: how the processes find each other."""
        if self.launcher == 'torchrun':
            return TorchElasticEnvironment()
        if self.launcher == 'slurm':
            # Its own requeueing saves in the middle of an epoch; here the same command goes on.
            return SLURMEnvironment(auto_requeue=False)
        return LightningEnvironment()


def placement(run: RunConfig, environment: Mapping[str, str] = os.environ) -> Placement:
    """Where a training runs.

    Args:
        run: of the recipe; its devices count where no launcher says how many.
        environment: variables, in which torchrun and srun say what they started.

    Raises:
        ConfigError: devices are asked for that are not there, or the launcher contradicts itself.
    """
    on_gpu = _on_gpu(run.device)
    there = torch.cuda.device_count() if on_gpu else None
    if 'TORCHELASTIC_RUN_ID' in environment:
        found = _from_torchrun(on_gpu, environment)
    elif 'SLURM_STEP_ID' in environment and environment.get('SLURM_STEP_NUM_TASKS', '1') != '1':
        found = _from_slurm(on_gpu, environment)
    else:
        found = Placement(on_gpu, devices=run.devices or there or 1)
    if there is not None and found.devices > there:
        raise ConfigError(
            f'{found.devices} processes on a machine need as many GPUs, PyTorch sees {there}: '
            'lower run.devices or what the launcher starts'
        )
    return found


def check_batch(optimizer: OptimizerConfig, place: Placement) -> None:
    """The batch of the recipe is that of all processes together.

    Raises:
        ConfigError: it cannot be shared out evenly.
    """
    if optimizer.batch_size % place.processes:
        raise ConfigError(
            f'optimizer.batch_size is {optimizer.batch_size}, the batch of all processes '
            f'together: it must be a multiple of the {place.processes} processes'
        )


def _on_gpu(device: str) -> bool:
    if device not in ('auto', 'cpu', 'cuda'):
        raise ConfigError(f'run.device is {device!r}; it must be auto, cpu or cuda')
    if device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('run.device is cuda, but PyTorch sees no CUDA device')
    return device != 'cpu' and torch.cuda.is_available()


def _from_torchrun(on_gpu: bool, environment: Mapping[str, str]) -> Placement:
    advice = 'start the processes with torchrun'
    total = _count(environment, 'WORLD_SIZE', advice)
    here = _count(environment, 'LOCAL_WORLD_SIZE', advice)
    if total % here:
        raise ConfigError(
            f'torchrun started {total} processes, {here} of them on this machine: '
            'give --nproc-per-node the same number on every machine'
        )
    return Placement(on_gpu, here, total // here, 'torchrun')


def _from_slurm(on_gpu: bool, environment: Mapping[str, str]) -> Placement:
    advice = 'give srun --ntasks, --nodes and --ntasks-per-node'
    total = _count(environment, 'SLURM_NTASKS', advice)
    machines = _count(environment, 'SLURM_NNODES', advice)
    if environment.get('SLURM_NTASKS_PER_NODE') != str(total // machines):
        raise ConfigError(
            f'srun started {total} tasks on {machines} machines: say how many run on each '
            'with --ntasks-per-node, the same number everywhere'
        )
    return Placement(on_gpu, total // machines, machines, 'slurm')


def _count(environment: Mapping[str, str], name: str, advice: str) -> int:
    found = environment.get(name)
    if found is None:
        raise ConfigError(f'{name} is not set, which says how many processes train: {advice}')
    if not (found.isdecimal() and int(found)):
        raise ConfigError(f'{name} is {found!r}, not a number above 0: {advice}')
    return int(found)
