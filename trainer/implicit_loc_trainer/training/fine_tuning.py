"""The recipe that refines a checkpoint on frames of which only the position is known."""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.network import NetworkLayout
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import DataConfig, LossConfig, NetworkSection
from implicit_loc_trainer.training.run_folder import recipe_beside

# What is known is to be kept: a tenth of the usual rate, and no phase without the pose loss.
_LEARNING_RATE = 1e-4


def fine_tuning_recipe(
    checkpoint: Path,
    positions: str,
    output: str,
    epochs: int,
    more: Sequence[str] = (),
    split: str = 'train',
    more_split: str = 'train',
) -> Recipe:
    """The recipe of the checkpoint's run, for a few epochs on other frames.

    Loss and augmentation are those of the recipe.yaml beside the checkpoint, or the default
    ones where there is none; without `more` there are no landmarks in the loss. Nothing is
    validated meanwhile: that takes a recording with poses.

    Args:
        checkpoint: to begin with.
        positions: recording whose positions are learned.
        output: folder of the run.
        epochs: passes over all frames.
        more: recordings with whole poses, mixed in.
        split: of the frames in `positions`.
        more_split: of the frames in `more`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        ConfigError: the recipe beside it cannot be read.
    """
    _, description = load_checkpoint(checkpoint)
    recipe = recipe_beside(checkpoint)
    layout = {item.name: getattr(description.network, item.name) for item in fields(NetworkLayout)}
    network = {**asdict(recipe.network), **layout, 'input_height': description.input_height}
    data = DataConfig(
        path=positions,
        positions_only=True,
        more=tuple(more),
        more_split=more_split,
        train_split=split,
        validation_frames=0,
    )
    return replace(
        recipe,
        data=data,
        network=refined(replace(recipe.network, **network)),
        loss=refining_loss(replace(recipe.loss, pose=recipe.loss.pose or 1.0), data),
        optimizer=replace(
            recipe.optimizer, epochs=epochs, learning_rate=_LEARNING_RATE, geometry_share=0.0
        ),
        # A report shows held-out frames, and there are none.
        run=replace(recipe.run, output=output, start_from=str(checkpoint), report=False),
    )


def refining_loss(loss: LossConfig, data: DataConfig) -> LossConfig:
    """The loss of a fine-tuning: without landmarks where no frame has an orientation.

    Landmarks are triangulated from whole poses; those of `data.more` have them.
    """
    if data.more:
        return loss
    return replace(loss, landmarks=0.0, landmark_depth=0.0)


def refined(network: NetworkSection) -> NetworkSection:
    """The network of a fine-tuning, whose weights are all in the checkpoint it begins with."""
    return replace(network, backbone_weights='')
