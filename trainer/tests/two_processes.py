"""Work for the processes of test_distributed.py: it must be importable where they are spawned."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import AugmentationConfig, OptimizerConfig
from implicit_loc_trainer.training.distributed.batch_norm import GlobalBatchNorm2d, exchange
from implicit_loc_trainer.training.distributed.processes import (
    gather_shares,
    on_any_process,
    on_first_process,
    own_share,
    process_count,
    process_rank,
    sum_over_processes,
    together,
)
from implicit_loc_trainer.training.loading import Batch, TrainingSet, training_loader
from implicit_loc_trainer.training.objective import Objective
from implicit_loc_trainer.training.optimisation import build_optimizer

STEPS = 5
BATCH_SIZE = 4


def samples(count: int) -> list[Sample]:
    """Frames of noise, each seen from elsewhere."""
    camera = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        pose = np.eye(4)
        pose[:3, 3] = rng.normal(size=3)
        made.append(Sample(str(index), camera, pose, index / 10, lambda image=image: image))
    return made


def recipe() -> Recipe:
    """The pose loss waits for the third step: until then a head has no gradient."""
    config = OptimizerConfig(batch_size=BATCH_SIZE, geometry_share=0.4)
    return Recipe(optimizer=config, augmentation=AugmentationConfig())


class Learner(nn.Module):
    """Network and loss in one, as Lightning gives them to PyTorch."""

    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, progress: float) -> Tensor:
        """The loss of this process's share."""
        predicted = self.network(
            preprocessing.normalise(batch.images).double(), batch.focal_length
        )
        return Objective(recipe())(predicted, batch, progress).total


def train() -> dict[str, Any]:
    """A few steps in float64: loss of the whole batch at each step, weights and statistics."""
    torch.manual_seed(1)
    network = SceneNetwork(NetworkConfig(decoder_channels=8)).double().train()
    for head in (network.world_head, network.depth_head, network.weight_head):
        head[-1].float()  # which runs in float32 always
    names = list(network.state_dict())
    model: nn.Module = Learner(network)
    if process_count() > 1:
        exchange(network, nn.BatchNorm2d, GlobalBatchNorm2d)
        model = DistributedDataParallel(model, find_unused_parameters=True)
    assert list(network.state_dict()) == names
    optimizer, schedule = build_optimizer(recipe().optimizer, network, STEPS)
    dataset = TrainingSet(samples(BATCH_SIZE * STEPS), 48, 8, AugmentationConfig(), seed=3)
    totals, seen = [], []
    for step, batch in enumerate(training_loader(dataset, BATCH_SIZE, seed=3)):
        seen.append(batch.frames.tolist())
        loss = model(_doubled(batch), step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        totals.append(float(sum_over_processes(loss.detach())) / process_count())
    return {'losses': totals, 'frames': seen, 'state': network.state_dict()}


def _doubled(batch: Batch) -> Batch:
    return Batch(*(part.double() if part.is_floating_point() else part for part in batch))


def run(rank: int, count: int, folder: Path) -> None:
    """One of several processes: trains, talks to the others, writes down what it found."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / 'store'), count)
    distributed.init_process_group('gloo', store=store, rank=rank, world_size=count)
    found = train()
    found['rank'] = process_rank()
    found['gathered'] = [gather_shares(own_share(list(range(n)))) for n in range(2 * count + 2)]
    here = torch.device('cpu')
    flags = itertools.product((False, True), repeat=count)
    found['flags'] = [(flag, on_any_process(flag[rank], here)) for flag in flags]
    found['first'] = on_first_process(lambda: f'from {rank}')
    found['failures'] = [_failure(rank, failing) for failing in ((0,), (1,), (0, 1))]
    torch.save(found, folder / f'{rank}.pt')
    distributed.destroy_process_group()


def _failure(rank: int, failing: tuple[int, ...]) -> str:
    """How it ends for this process when some fail in what all do together."""

    def act() -> None:
        if rank in failing:
            raise ImplicitLocError(f'failed on {rank}')

    try:
        together(act)
    except ImplicitLocError as error:
        return str(error)
    except SystemExit as stop:
        return f'exit {stop.code}'
    return 'passed'
