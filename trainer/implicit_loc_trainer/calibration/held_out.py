"""Which frames of a recording a checkpoint has learned from, and which it never saw."""

from dataclasses import replace
from pathlib import Path

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.calibration.splitting import CalibrationSplit
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.training.description import fingerprint
from implicit_loc_trainer.training.mixed_recordings import training_frames
from implicit_loc_trainer.training.run_folder import recipe_beside

_HELP = 'name frames that it never learned with --split'


def held_out_frames(checkpoint: Path, data: str) -> list[Sample]:
    """The frames that the training of a checkpoint held out of a recording.

    Args:
        checkpoint: of a training.
        data: its recording.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the recipe beside it cannot be read.
        DataError: the recording cannot be used, or nothing was held out of it.
    """
    split = _split_again(checkpoint, data)
    if not split.held_out:
        raise DataError(f'no frame of {data} was held out ({split.reason}): {_HELP}')
    if not _has_learned(checkpoint, split.learned):
        raise DataError(
            f'{checkpoint} was not trained on {data} without the {len(split.held_out)} frames '
            f'that a training holds out now: {_HELP}'
        )
    return split.held_out


def learned_frames(checkpoint: Path, data: str) -> list[Sample]:
    """The frames that a checkpoint has learned from, all of a recording's or without some.

    Args:
        checkpoint: of a training.
        data: its recording.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the recipe beside it cannot be read.
        DataError: the recording cannot be used, or others of its frames were learned.
    """
    for share in (None, 0.0):
        learned = _split_again(checkpoint, data, share).learned
        if _has_learned(checkpoint, learned):
            return learned
    raise DataError(
        f'{checkpoint} was not trained on {data}, as far as frames that a training learns now '
        'tell: name the frames that it learned with --split'
    )


def _split_again(checkpoint: Path, data: str, share: float | None = None) -> CalibrationSplit:
    """What a training makes of a recording.

    Splitting is deterministic: it is done again, with the recipe beside the checkpoint if there is
    one, and is right if the other frames are those that the checkpoint says it has learned.

    Args:
        checkpoint: of a training.
        data: its recording.
        share: of the frames that is held out; None for the recipe's.
    """
    _, description = load_checkpoint(checkpoint)
    recipe = recipe_beside(checkpoint)
    network = replace(
        recipe.network, far=description.network.far, input_height=description.input_height
    )
    own = replace(recipe.data, path=data)
    if share is not None:
        own = replace(own, calibration_share=share)
    return training_frames(replace(recipe, data=own, network=network))


def _has_learned(checkpoint: Path, samples: list[Sample]) -> bool:
    _, description = load_checkpoint(checkpoint)
    return fingerprint(samples) == description.dataset_fingerprint
