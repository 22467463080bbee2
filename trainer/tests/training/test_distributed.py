"""Several processes train as one does: real processes, which talk through gloo."""

import csv
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import two_processes
import yaml
from torch import multiprocessing, nn
from torch.nn.modules.batchnorm import _BatchNorm

from implicit_loc.backbones import BACKBONES
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer import cli
from implicit_loc_trainer.recipes.sections import ConfigError, OptimizerConfig, RunConfig
from implicit_loc_trainer.training.distributed.batch_norm import GlobalBatchNorm2d, exchange
from implicit_loc_trainer.training.distributed.placement import (
    Placement,
    check_batch,
    placement,
)
from implicit_loc_trainer.training.distributed.processes import global_mean, on_any_process


@pytest.fixture(scope='module')
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes found that trained together."""
    folder = tmp_path_factory.mktemp('pair')
    multiprocessing.spawn(two_processes.run, (2, folder), nprocs=2)
    return [torch.load(folder / f'{rank}.pt', weights_only=True) for rank in range(2)]


@pytest.fixture(scope='module')
def alone() -> dict[str, Any]:
    """What one process found with the same batches."""
    threads = torch.get_num_threads()
    # As many as the two have: others sum in another order.
    torch.set_num_threads(1)
    try:
        return two_processes.train()
    finally:
        torch.set_num_threads(threads)


def test_two_processes_share_the_batches_of_one(
    pair: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    assert len(alone['frames']) == two_processes.STEPS
    for step, batch in enumerate(alone['frames']):
        first, second = (process['frames'][step] for process in pair)
        assert len(first) == len(second) == two_processes.BATCH_SIZE // 2
        assert sorted(first + second) == sorted(batch)


def test_two_processes_have_the_losses_of_one(
    pair: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    """Loss means, batch norms, clipped gradients, schedule and a head that waits, all global."""
    # The last layer of every head computes in float32.
    for process in pair:
        assert process['losses'] == pytest.approx(alone['losses'], rel=1e-6)
    assert len(set(alone['losses'])) == two_processes.STEPS


def test_two_processes_learn_the_weights_of_one(
    pair: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    for process in pair:
        assert process['state'].keys() == alone['state'].keys()
        for name, tensor in alone['state'].items():
            torch.testing.assert_close(
                process['state'][name], tensor, rtol=1e-5, atol=1e-7, msg=name
            )


def test_shares_come_together_in_the_first_order(pair: list[dict[str, Any]]) -> None:
    for process in pair:
        assert process['gathered'] == [list(range(n)) for n in range(6)]


def test_every_process_knows_of_a_flag_on_any(pair: list[dict[str, Any]]) -> None:
    for process in pair:
        for flags, known in process['flags']:
            assert known == any(flags)


def test_what_the_first_process_prepared_reaches_all(pair: list[dict[str, Any]]) -> None:
    assert [process['first'] for process in pair] == ['from 0', 'from 0']


def test_one_process_says_why_all_end(pair: list[dict[str, Any]]) -> None:
    assert pair[0]['failures'] == ['failed on 0', 'exit 1', 'failed on 0']
    assert pair[1]['failures'] == ['exit 1', 'failed on 1', 'exit 1']


@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_batch_norm_is_exchanged_and_comes_back(backbone: str) -> None:
    """Another kind of norm would keep statistics of its own share, and nobody would notice."""
    network = SceneNetwork(NetworkConfig(backbone=backbone, decoder_channels=8))
    before = {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()}
    for old, new in ((nn.BatchNorm2d, GlobalBatchNorm2d), (GlobalBatchNorm2d, nn.SyncBatchNorm)):
        exchange(network, old, new)
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        assert norms
        assert {type(norm) for norm in norms} == {new}
    exchange(network, nn.SyncBatchNorm, nn.BatchNorm2d)
    after = {name: id(tensor) for name, tensor in network.state_dict(keep_vars=True).items()}
    assert after == before
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


def test_a_process_alone_is_an_ordinary_one() -> None:
    values, chosen = torch.tensor([1.0, 5.0, 9.0]), torch.tensor([True, False, True])
    assert global_mean(values, chosen) == 5.0
    assert global_mean(values, torch.zeros(3, dtype=torch.bool)) == 0.0
    assert not on_any_process(False, torch.device('cpu'))
    image = torch.randn(4, 3, 5, 6)
    ordinary = nn.BatchNorm2d(3)
    root = nn.Sequential(nn.BatchNorm2d(3))
    exchange(root, nn.BatchNorm2d, GlobalBatchNorm2d)
    torch.testing.assert_close(root(image), ordinary(image))


CAMERA = """image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [50, 0, 31, 0, 51, 23, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    """A recipe for a recording of noise: ten batches an epoch."""
    folder = tmp_path / 'recording'
    (folder / 'rgb').mkdir(parents=True)
    (folder / 'camera.yaml').write_text(CAMERA)
    rng = np.random.default_rng(0)
    images, poses = [], []
    for frame in range(44):
        name = f'rgb/{frame / 10:.1f}.png'
        cv2.imwrite(str(folder / name), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        images.append(f'{frame / 10:.1f} {name}')
        poses.append(f'{frame / 10:.1f} {frame / 10:.1f} 0 0 0 0 0 1')
    (folder / 'rgb.txt').write_text('\n'.join(images))
    (folder / 'groundtruth.txt').write_text('\n'.join(poses))
    (folder / 'train.txt').write_text('\n'.join(line.split()[1] for line in images[:40]))
    recipe = {
        'data': {'path': str(folder), 'validation_frames': 3},
        'network': {'input_height': 48, 'decoder_channels': 8},
        'optimizer': {'epochs': 3, 'batch_size': 4, 'learning_rate': 1e-4},
        # Noise shows none, and looking for them takes its time; so does a report.
        'map': {'landmarks': 0},
        'run': {'device': 'cpu', 'threads': 1, 'report': False},
    }
    path = tmp_path / 'recipe.yaml'
    path.write_text(yaml.safe_dump(recipe))
    return path


def _last_loss(run: Path) -> float:
    table = max((run / 'log').glob('version_*/metrics.csv'))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    return float(next(row['loss/total'] for row in reversed(rows) if row['loss/total']))


def test_one_process_goes_on_where_two_were_interrupted(tmp_path: Path, recipe_file: Path) -> None:
    """Through the command; the result is that of one process from beginning to end."""
    command = ['train', str(recipe_file), '--run.output']
    assert cli.main([*command, str(tmp_path / 'one')]) == 0
    run = tmp_path / 'two'
    process = subprocess.Popen(
        [sys.executable, '-m', cli.__name__, *command, str(run), '--run.devices', '2'],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run in the background, the shell has switched Ctrl-C off.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 250
    while not (run / 'last.ckpt').is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert 'the same command goes on' in errors
    assert 'Traceback' not in errors
    assert not (run / 'checkpoint.safetensors').exists()
    assert cli.main([*command, str(run)]) == 0
    assert _last_loss(run) == pytest.approx(_last_loss(tmp_path / 'one'), rel=2e-3)
    _, expected = load_checkpoint(tmp_path / 'one' / 'checkpoint.safetensors')
    _, found = load_checkpoint(run / 'checkpoint.safetensors')
    name = 'median_translation_m'
    assert found.validation[name] == pytest.approx(expected.validation[name], rel=0.05)


TORCHRUN = {'TORCHELASTIC_RUN_ID': 'x', 'WORLD_SIZE': '8', 'LOCAL_WORLD_SIZE': '4'}
SLURM = {
    'SLURM_STEP_ID': '0',
    'SLURM_STEP_NUM_TASKS': '8',
    'SLURM_NTASKS': '8',
    'SLURM_NNODES': '2',
    'SLURM_NTASKS_PER_NODE': '4',
}


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({}, Placement(False, 3, 1, 'none')),
        (TORCHRUN, Placement(False, 4, 2, 'torchrun')),
        (SLURM, Placement(False, 4, 2, 'slurm')),
        # torchrun inside of an allocation.
        (SLURM | TORCHRUN, Placement(False, 4, 2, 'torchrun')),
        # In a batch script, but not through srun: SLURM has started one process.
        ({'SLURM_NTASKS': '8', 'SLURM_NNODES': '2'}, Placement(False, 3, 1, 'none')),
    ],
)
def test_the_launcher_says_where_processes_run(
    environment: dict[str, str], expected: Placement
) -> None:
    found = placement(RunConfig(device='cpu', devices=3), environment)
    assert found == expected
    assert found.must_be_launched == (expected.launcher == 'none')


@pytest.mark.parametrize(
    ('environment', 'message'),
    [
        (TORCHRUN | {'WORLD_SIZE': '7'}, '7 processes, 4 of them on this machine'),
        (SLURM | {'SLURM_NTASKS_PER_NODE': '3'}, '--ntasks-per-node'),
        ({key: SLURM[key] for key in SLURM if 'PER' not in key}, '--ntasks-per-node'),
    ],
)
def test_uneven_machines_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        placement(RunConfig(device='cpu'), environment)


@pytest.mark.parametrize(
    ('environment', 'message'),
    [
        ({key: SLURM[key] for key in SLURM if key != 'SLURM_NTASKS'}, 'SLURM_NTASKS is not set'),
        (SLURM | {'SLURM_NNODES': 'two'}, "SLURM_NNODES is 'two', not a number.*--nodes"),
        (SLURM | {'SLURM_NNODES': '0'}, "SLURM_NNODES is '0', not a number above 0"),
        ({'TORCHELASTIC_RUN_ID': '1', 'WORLD_SIZE': '8'}, 'LOCAL_WORLD_SIZE is not set.*torchrun'),
    ],
)
def test_a_launcher_that_does_not_say_how_many_is_one_clear_error(
    environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        placement(RunConfig(device='cpu'), environment)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'devices': -1}, 'run.devices is -1; it must be at least 0'),
        ({'seed': -1}, 'run.seed is -1; it must be at least 0'),
        ({'seed': 2**32}, 'run.seed is 4294967296; it must be at most 4294967295'),
    ],
)
def test_runs_out_of_range_are_refused(values: dict[str, int], message: str) -> None:
    RunConfig(devices=0, seed=2**32 - 1)
    with pytest.raises(ConfigError, match=message):
        RunConfig(**values)  # type: ignore[arg-type]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert placement(RunConfig(devices=0), {}).devices == 2
    with pytest.raises(ConfigError, match='4 processes on a machine need as many GPUs'):
        placement(RunConfig(), TORCHRUN)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    place = Placement(True, devices=4, machines=2)
    check_batch(OptimizerConfig(batch_size=16), place)
    with pytest.raises(ConfigError, match='multiple of the 8 processes'):
        check_batch(OptimizerConfig(batch_size=12), place)
