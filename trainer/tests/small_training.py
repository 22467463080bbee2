"""What the tests of long trainings share: a recording in memory, and a recipe of seconds."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import (
    DataConfig,
    MapConfig,
    NetworkSection,
    OptimizerConfig,
    RunConfig,
)
from implicit_loc_trainer.training import mixed_recordings, preparing

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
FRAMES = 12
BATCHES_PER_EPOCH = 3


def samples(count: int = FRAMES) -> list[Sample]:
    """Noise, seen from positions along a line."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    return [_sample(index, image) for index, image in enumerate(images)]


def recipe(folder: Path, **run: object) -> Recipe:
    """Three epochs of three batches on a CPU."""
    return Recipe(
        data=DataConfig(path='made-up', validation_frames=1, cache='memory'),
        network=NetworkSection(input_height=48, decoder_channels=8),
        # Noise shows none, and looking for them takes its time.
        map=MapConfig(landmarks=0),
        optimizer=OptimizerConfig(epochs=3, batch_size=4),
        run=replace(
            RunConfig(output=str(folder), device='cpu', validate_every=2, threads=1, report=False),
            **run,
        ),
    )


def with_epochs(recipe: Recipe, epochs: int, **optimizer: object) -> Recipe:
    """Another length, and other entries of the optimiser's section."""
    return replace(recipe, optimizer=replace(recipe.optimizer, epochs=epochs, **optimizer))


def use(patch: pytest.MonkeyPatch, frames: list[Sample]) -> None:
    """Make these frames the recording of every training."""
    for module in (preparing, mixed_recordings):
        patch.setattr(module, 'open_dataset', lambda _path, _split: frames)


def in_a_fork(action: Callable[[], object]) -> int:
    """Start a process that acts and ends with status 0; returns its id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return process


def _sample(index: int, image: np.ndarray) -> Sample:
    pose = np.eye(4)
    pose[0, 3] = index / 10
    return Sample(f'frame-{index}', CAMERA, pose, index / 10, lambda: image)
