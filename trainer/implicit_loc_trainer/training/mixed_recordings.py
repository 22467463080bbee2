"""The frames of a training: from several recordings of a place, some with positions alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.calibration.splitting import CalibrationSplit, hold_out
from implicit_loc_trainer.datasets import DataError, Sample, open_dataset
from implicit_loc_trainer.recipes.recipe import Recipe


def training_frames(recipe: Recipe) -> CalibrationSplit:
    """The frames to learn from, and those to calibrate with.

    Raises:
        DataError: no recording is named, or one is not usable.
    """
    data = recipe.data
    if not data.path:
        raise DataError('data.path is empty: name the recording with --data.path RECORDING')
    if data.positions_only:
        samples = position_frames(data.path, split_of(data.train_split))
    else:
        samples = open_dataset(data.path, split_of(data.train_split))
    samples = samples + further_frames(data.more, split_of(data.more_split))
    check_one_shape(samples, recipe.network.input_height)
    return hold_out(samples, data.calibration_share, typical_depth(recipe))


def typical_depth(recipe: Recipe) -> float:
    """Of the scene, metres."""
    return recipe.loss.fallback_depth_share * recipe.network.far


def split_of(name: str) -> str | Path:
    """A split as datasets know it: 'train', 'test', or a file of names."""
    return name if name in ('train', 'test') else Path(name)


def position_frames(path: str | Path, split: str | Path) -> list[Sample]:
    """The frames of a recording, of which only the positions are taken.

    Raises:
        DataError: the recording is not usable.
    """
    samples = open_dataset(path, split, orientations=False)
    return [sample.position_only() for sample in samples]


def further_frames(paths: Sequence[str], split: str | Path) -> list[Sample]:
    """The frames of further recordings, under names that say which.

    Raises:
        DataError: a recording is not usable.
    """
    return [
        replace(sample, name=f'{path}: {sample.name}')
        for path in paths
        for sample in open_dataset(path, split)
    ]


def check_one_shape(samples: Sequence[Sample], input_height: int) -> None:
    """Refuses frames whose views would not fit into one batch.

    Raises:
        DataError: the aspect ratios differ.
    """
    first = samples[0]
    width = input_camera(first.camera, input_height).width
    for sample in samples:
        if input_camera(sample.camera, input_height).width != width:
            raise DataError(
                f'{sample.name} has {sample.camera.width}x{sample.camera.height} pixels, '
                f'{first.name} {first.camera.width}x{first.camera.height}: the frames of one '
                'training must have one aspect ratio; crop them, or train on one camera'
            )
