"""How fast the training is, against the loop that one would write at first.

    python trainer/benchmarks/training_speed.py trainer/configs/default.yaml

Both train the same network from the same recipe on the same views, batch and size: once as
`implicit-loc train` does it, loader, guards and logs included; once in a plain loop in contiguous
float32. They take turns in one process, a few steps each, so that whatever else the machine does
meets both. Printed are the medians over the turns and their ratio; with one thread of a CPU the
time that it spent, which other programs disturb less, otherwise that of the clock. On a GPU both
have as many helper processes, which fill their queues during the other's turn: it takes more
steps a turn than queues hold.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch.utils.data import DataLoader

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc.network import SceneNetwork
from implicit_loc.runtimes import select_device
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.training.description import begin_network, describe
from implicit_loc_trainer.training.distributed.placement import placement
from implicit_loc_trainer.training.frame_cache import FrameCache
from implicit_loc_trainer.training.freezing import freeze_stages
from implicit_loc_trainer.training.lightning_trainer import lightning_trainer
from implicit_loc_trainer.training.loading import Batch, TrainingSet, collate
from implicit_loc_trainer.training.objective import Objective
from implicit_loc_trainer.training.optimisation import build_optimizer
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.scene_training import SceneTraining

CAMERA = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)

_DISTINCT_IMAGES = 64

# A turn, by the kind of device: eight helpers hold two batches each.
_STEPS = {'cpu': 4, 'cuda': 40}


def plain_loop(
    recipe: Recipe, samples: list[Sample], views: TrainingSet, workers: int
) -> Iterator[float]:
    """Trains forever; gives the loss of every step, which waits for the device."""
    device = select_device(recipe.run.device)
    torch.manual_seed(recipe.run.seed)
    config = recipe.optimizer
    network = SceneNetwork(describe(recipe, samples).network).train().to(device)
    freeze_stages(network, config.frozen_stages)
    objective = Objective(recipe)
    steps = len(views) // config.batch_size * config.epochs
    optimizer, schedule = build_optimizer(config, network, steps)
    loader = DataLoader(
        views,
        config.batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=collate,
        num_workers=workers,
    )
    mean = torch.tensor(preprocessing.MEAN, device=device)[:, None, None]
    deviation = torch.tensor(preprocessing.STANDARD_DEVIATION, device=device)[:, None, None]
    while True:
        for loaded in loader:
            batch = Batch(*(tensor.to(device) for tensor in loaded))
            images = (batch.images.contiguous().float() / 255 - mean) / deviation
            loss = objective(network(images, batch.focal_length), batch, 0.5).total
            optimizer.zero_grad()
            loss.backward()
            if config.clip_gradient:
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_gradient)
            optimizer.step()
            schedule.step()
            yield loss.item()


@dataclass
class Turns(Callback):
    """Lets the plain loop take its turn after every few steps of the training."""

    begin: Callable[[int], Iterator[float]]
    steps: int
    turns: int
    clock: Callable[[], float]
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    started: float = 0.0
    rival: Iterator[float] | None = None

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        _outputs: Any,
        _batch: Batch,
        _index: int,
    ) -> None:
        """Take the times of a turn of either."""
        if trainer.global_step % self.steps:
            return
        if self.rival is None:
            self.rival = self.begin(trainer.train_dataloader.num_workers)
        switched = self.clock()
        for _ in range(self.steps):
            next(self.rival)
        now = self.clock()
        if self.started:  # the first turn warms up
            self.ours.append((switched - self.started) / self.steps)
            self.plain.append((now - switched) / self.steps)
        self.started = self.clock()
        trainer.should_stop = len(self.ours) == self.turns


def made_up_samples(count: int) -> list[Sample]:
    """Blurred noise: decoding and content take no part in what is measured."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (_DISTINCT_IMAGES, 30, 40, 3), dtype=np.uint8)
    images = [preprocessing.resize(each, CAMERA.width, CAMERA.height) for each in coarse]
    samples = []
    for index in range(count):
        image = images[index % _DISTINCT_IMAGES]
        pose = np.eye(4)
        pose[:3, 3] = random.uniform(-1, 1, 3)
        samples.append(Sample(str(index), CAMERA, pose, index / 30, partial(np.copy, image)))
    return samples


def measure(recipe: Recipe, turns: int, steps: int) -> Turns:
    """The training and the plain loop in turns."""
    batch = recipe.optimizer.batch_size
    # No epoch ends while the clock runs: what comes then is not part of a step.
    samples = made_up_samples(batch * steps * (turns + 2))
    cache = FrameCache(samples, recipe.network.input_height, recipe.data, Console(quiet=True))
    views = TrainingSet(
        cache.frames(on_disk=False),
        recipe.network.input_height,
        recipe.network.stride,
        recipe.augmentation,
        recipe.run.seed,
    )
    begin = partial(plain_loop, recipe, samples, views)
    clock = Turns(begin, steps, turns, clock_of(select_device(recipe.run.device)))
    progress = TrainingProgress(batch)
    place = placement(recipe.run)
    trainer = lightning_trainer(recipe, Path(recipe.run.output), progress, place)
    callbacks: list[Callback] = vars(trainer)['callbacks']
    callbacks.append(clock)
    network, description = begin_network(recipe, describe(recipe, samples))
    trainer.fit(SceneTraining(recipe, network, description, views, [], progress.report))
    return clock


def clock_of(device: torch.device) -> Callable[[], float]:
    """The clock that other programs disturb least; on a GPU, when all is done that was begun."""
    if device.type == 'cpu':
        return time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def when_done() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return when_done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('recipe', type=Path, help='the training, for instance default.yaml')
    parser.add_argument('--turns', type=int, default=10, help='of each (default %(default)s)')
    parser.add_argument('--steps', type=int, help='a turn (default 4, on a GPU 40)')
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch (default %(default)s)')
    arguments = parser.parse_args()
    try:
        recipe = load_recipe(arguments.recipe)
        device = select_device(arguments.device).type
    except ImplicitLocError as error:
        parser.error(str(error))
    torch.set_num_threads(arguments.threads)
    steps = arguments.steps or _STEPS[device]
    with tempfile.TemporaryDirectory() as folder:
        run = replace(recipe.run, output=folder, device=device, devices=1, workers=0)
        epochs = replace(recipe.optimizer, epochs=10**6)
        recipe = replace(recipe, run=run, optimizer=epochs)
        times = measure(recipe, arguments.turns, steps)
    console = Console(highlight=False)
    for name, seconds in (('training', times.ours), ('plain loop', times.plain)):
        median = statistics.median(seconds)
        speed = recipe.optimizer.batch_size / median
        console.print(f'{name:<10} {speed:7.2f} images/s {1000 * median:8.1f} ms a step')
    ratios = [plain / ours for plain, ours in zip(times.plain, times.ours, strict=True)]
    low, high = min(ratios), max(ratios)
    console.print(f'ratio      {statistics.median(ratios):7.2f} (turns: {low:.2f} to {high:.2f})')


if __name__ == '__main__':
    main()
