"""Landmarks of a checkpoint: at the end of its training, or at any time after."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import load_checkpoint, save_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.landmarks.choosing import ChosenLandmarks
from implicit_loc_trainer.landmarks.describing import describe_landmarks
from implicit_loc_trainer.landmarks.finding import find_landmarks, with_landmarks
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.afterwards import attempt
from implicit_loc_trainer.training.description import validation_figures, without_landmarks
from implicit_loc_trainer.training.frame_cache import Report, cache_root
from implicit_loc_trainer.training.memory import readable_bytes
from implicit_loc_trainer.training.mixed_recordings import typical_depth
from implicit_loc_trainer.training.run_folder import recipe_beside


@dataclass(frozen=True)
class Added:
    """What a checkpoint has been given.

    Attributes:
        landmarks: so many.
        per_frame: so many of them in a frame of the recording, at the median.
        bytes_before: size of the file.
        bytes_after: likewise.
        validation: errors on held-out frames; None without any.
    """

    landmarks: int
    per_frame: int
    bytes_before: int
    bytes_after: int
    validation: ErrorSummary | None = None

    def described(self) -> str:
        """The figures, in one line."""
        before, after = readable_bytes(self.bytes_before), readable_bytes(self.bytes_after)
        text = (
            f'{self.landmarks} landmarks are in the map, {self.per_frame} of them in a frame at '
            f'the median; it has {after} now ({before} before)'
        )
        if self.validation is None:
            return text
        return (
            f'{text}; validation median {100 * self.validation.median_translation_m:.1f} cm, '
            f'{self.validation.median_rotation_deg:.2f} deg'
        )


def add_landmarks(
    checkpoint: Path,
    frames: Sequence[Sample],
    most: int,
    output: Path,
    report: Report,
    device: str = 'auto',
    validation: Sequence[Sample] = (),
) -> Added:
    """Gives a checkpoint the landmarks of a recording, in place of those that it has.

    A calibration that it has goes: it was of other poses.

    Args:
        checkpoint: whose network describes them.
        frames: that it learned from, with their landmarks.
        most: landmarks to keep.
        output: where the checkpoint with landmarks goes; may be the same file.
        report: takes a line about every frame that cannot be read.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        validation: held-out frames, whose errors then stand in the header; may be empty.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        DataError: none of the frames shows a landmark.
        ImplicitLocError: the device does not exist.
        OSError: the output cannot be written.
    """
    network, description = without_landmarks(*load_checkpoint(checkpoint))
    before = checkpoint.expanduser().stat().st_size
    chosen = ChosenLandmarks.of(frames, most)
    # It takes the network to its device.
    localizer = Localizer(network, description, device)
    found = describe_landmarks(network, description, frames, chosen, report)
    if found is None:
        raise DataError(f'{len(frames)} frames show no landmark that four of them share')
    network.landmarks = found.to(localizer.device)
    network.config = replace(description.network, landmarks=len(found.positions))
    description = replace(description, network=network.config, calibration=Calibration())
    errors = _errors(Localizer(network, description, device), validation)
    if errors is not None:
        description = replace(description, validation=validation_figures(errors))
    save_checkpoint(output, network, description, _is_half_precision(network))
    per_frame = int(np.median([len(own) for own in chosen.in_frame]))
    return Added(description.network.landmarks, per_frame, before, output.stat().st_size, errors)


def _errors(localizer: Localizer, validation: Sequence[Sample]) -> ErrorSummary | None:
    return summary(evaluate(localizer, validation, shown=0).frames) if validation else None


def landmarks_of(samples: Sequence[Sample], checkpoint: Path) -> list[Sample]:
    """The samples with the landmarks that they show.

    Args:
        samples: that a checkpoint learned from.
        checkpoint: tells how large the scene is, with the recipe beside it if there is one.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        DataError: there are no landmarks.
        OSError: they cannot be kept.
    """
    _, description = load_checkpoint(checkpoint)
    recipe = recipe_beside(checkpoint)
    far = replace(recipe.network, far=description.network.far)
    depth = typical_depth(replace(recipe, network=far))
    found = find_landmarks(samples, depth, cache_root(recipe.data), Console(stderr=True))
    return with_landmarks(samples, found)


def landmarks_after(
    recipe: Recipe,
    frames: Sequence[Sample],
    validation: Sequence[Sample],
    checkpoint: Path,
    console: Console,
) -> None:
    """Gives the checkpoint of a training that has just ended its landmarks, or says why not.

    The training has succeeded by now: nothing that goes wrong here takes that back.

    Args:
        recipe: of the training.
        frames: that it learned from, with their landmarks where there are any.
        validation: held-out frames; may be empty.
        checkpoint: that it wrote; replaced.
        console: takes what is said.
    """
    most = recipe.map.landmarks
    if not most or all(frame.landmarks is None for frame in frames):
        return

    def add() -> str:
        device = recipe.run.device
        return add_landmarks(
            checkpoint, frames, most, checkpoint, console.print, device, validation
        ).described()

    again = f'implicit-loc landmarks {checkpoint} --data {recipe.data.path}'
    attempt(add, 'the map has no landmarks', again, console)


def _is_half_precision(network: SceneNetwork) -> bool:
    """Whether fp16 holds its weights without loss, as it does those that were read from it."""
    learned = (weight.detach() for weight in network.parameters() if weight.ndim > 1)
    return all(bool((weight.half().float() == weight).all()) for weight in learned)
