"""What a training needs before its first step: frames at hand, landmarks, network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.errors import ImplicitLocError
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.calibration.splitting import CalibrationSplit
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.landmarks.finding import find_landmarks, with_landmarks
from implicit_loc_trainer.landmarks.triangulation import Observations
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.description import (
    begin_network,
    describe,
    without_landmarks,
)
from implicit_loc_trainer.training.distributed.processes import (
    is_first_process,
    on_first_process,
    together,
)
from implicit_loc_trainer.training.frame_cache import FrameCache, cache_root, shrunk_in_memory
from implicit_loc_trainer.training.loading import TrainingSet
from implicit_loc_trainer.training.mixed_recordings import (
    split_of,
    training_frames,
    typical_depth,
)


@dataclass(frozen=True)
class Frames:
    """The frames of a training; all are in memory or on this machine's disk.

    Attributes:
        learned: frames to train on, with their landmarks where these were looked for.
        validation: held-out frames to watch; may be empty.
        held_out: frames to calibrate with, on the first process; may be empty.
    """

    learned: list[Sample]
    validation: list[Sample]
    held_out: list[Sample]


def split_frames(recipe: Recipe, console: Console) -> CalibrationSplit:
    """The frames to learn from, and those to calibrate with.

    Raises:
        ConfigError: they make no batch.
        DataError: a recording is not usable.
    """
    split = together(lambda: training_frames(recipe))
    console.print(split.described(), highlight=False, soft_wrap=True)
    if len(split.learned) < recipe.optimizer.batch_size:
        raise ConfigError(
            f'the recording has {len(split.learned)} frames to learn from, a batch takes '
            f'{recipe.optimizer.batch_size}: lower optimizer.batch_size'
        )
    return split


def learns_landmarks(recipe: Recipe) -> bool:
    """Whether the training itself needs landmarks, and not its map alone."""
    return bool(recipe.loss.landmarks or recipe.loss.landmark_depth or recipe.augmentation.move)


def with_known_landmarks(recipe: Recipe, samples: list[Sample], console: Console) -> list[Sample]:
    """The samples with their landmarks, where training or map need them.

    Raises:
        DataError: the training needs them, and there are none.
        OSError: it needs them, and they cannot be kept.
    """
    is_needed = learns_landmarks(recipe)
    can_have = recipe.map.landmarks and any(sample.has_orientation for sample in samples)
    if not (is_needed or can_have):
        return samples

    def find() -> Observations | None:
        try:
            return find_landmarks(samples, typical_depth(recipe), cache_root(recipe.data), console)
        except (ImplicitLocError, OSError) as error:
            if is_needed:
                raise
            text = f'warning: the map will have no landmarks: {error}'
            console.print(text, markup=False, highlight=False, soft_wrap=True)
            return None

    found = on_first_process(find)
    return samples if found is None else with_landmarks(samples, found)


def bring_frames(
    recipe: Recipe,
    learned: Sequence[Sample],
    split: CalibrationSplit,
    devices: int,
    console: Console,
    report: Callable[[str], None],
) -> Frames:
    """Reads every frame that the training will need.

    Args:
        recipe: of the training.
        learned: frames to train on, with their landmarks.
        split: tells which frames were held out.
        devices: that train on this machine.
        console: takes what is said, and a progress bar.
        report: takes a line about every held-out frame that cannot be read.

    Raises:
        ConfigError: the frames are to be kept in memory, which has no room for them.
        DataError: too many frames cannot be read.
        OSError: the frames cannot be kept.
    """
    height = recipe.network.input_height
    cache = FrameCache(learned, height, recipe.data, console, devices)
    on_disk = on_first_process(cache.choose_disk)
    frames = together(lambda: cache.frames(on_disk))
    validation = together(lambda: _validation_frames(recipe, report))
    held_out = together(
        lambda: (
            shrunk_in_memory(split.held_out, height, report, 'calibration')
            if is_first_process()
            else []
        )
    )
    console.print('all frames are read: the recording is not needed any more')
    return Frames(frames, validation, held_out)


def training_set(recipe: Recipe, frames: Sequence[Sample]) -> TrainingSet:
    """The views of a training; landmarks that only the map needs are not in them."""
    if not learns_landmarks(recipe):
        frames = [replace(frame, landmarks=None) for frame in frames]
    return TrainingSet(
        frames,
        recipe.network.input_height,
        recipe.network.stride,
        recipe.augmentation,
        recipe.run.seed,
    )


def network_to_train(
    recipe: Recipe, samples: Sequence[Sample], state: Path | None, console: Console
) -> tuple[SceneNetwork, CheckpointDescription]:
    """The network that a training begins with, and the header of its checkpoint.

    Args:
        recipe: of the training.
        samples: frames to learn from.
        state: of an interrupted run, which brings all weights; None for none.
        console: takes what is said.

    Raises:
        ConfigError: the weights to start from are not there, or of another layout.
        CheckpointError: the checkpoint to start from cannot be used.
    """
    known = describe(recipe, samples)
    network, description = begin_network(recipe, known, resumes=state is not None)
    has_new = any(sample.landmarks is not None for sample in samples)
    if network.landmarks is not None and recipe.map.landmarks and not has_new:
        text = (
            f'the landmarks of {recipe.run.start_from} are left out, since no frame shows what '
            'they look like to the network that is trained. When it is, "implicit-loc landmarks '
            'CHECKPOINT --data RECORDING --split train" takes new ones from whole poses'
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    if state is not None:
        console.print(f'going on from {state}')
    # Descriptors change with the network: those of the trained one are taken at the end.
    return without_landmarks(network, description)


def _validation_frames(recipe: Recipe, report: Callable[[str], None]) -> list[Sample]:
    most = recipe.data.validation_frames
    if most == 0:
        return []
    samples = open_dataset(recipe.data.path, split_of(recipe.data.validation_split))
    chosen = samples[:: -(-len(samples) // most)]
    return shrunk_in_memory(chosen, recipe.network.input_height, report)
