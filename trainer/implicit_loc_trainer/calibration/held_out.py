"""Which frames of a recording a checkpoint has never learned from."""

from dataclasses import replace
from pathlib import Path

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.training.description import fingerprint
from implicit_loc_trainer.training.mixed_recordings import training_frames
from implicit_loc_trainer.training.run_folder import RECIPE

_HELP = 'name frames that it never learned with --split'


def held_out_frames(checkpoint: Path, data: str) -> list[Sample]:
    """The frames that the training of a checkpoint held out of a recording.

    Splitting is deterministic: it is done again, with the recipe beside the checkpoint if there is
    one, and is right if the other frames are those that the checkpoint says it has learned.

    Args:
        checkpoint: of a training.
        data: its recording.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the recipe beside it cannot be read.
        DataError: the recording cannot be used, or nothing was held out of it.
    """
    _, description = load_checkpoint(checkpoint)
    beside = checkpoint.parent / RECIPE
    recipe = load_recipe(beside) if beside.is_file() else Recipe()
    network = replace(
        recipe.network, far=description.network.far, input_height=description.input_height
    )
    split = training_frames(replace(recipe, data=replace(recipe.data, path=data), network=network))
    if not split.held_out:
        raise DataError(f'no frame of {data} was held out ({split.reason}): {_HELP}')
    if fingerprint(split.learned) != description.dataset_fingerprint:
        raise DataError(
            f'{checkpoint} was not trained on {data} without the {len(split.held_out)} frames '
            f'that a training holds out now: {_HELP}'
        )
    return split.held_out
