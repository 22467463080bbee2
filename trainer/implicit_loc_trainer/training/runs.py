"""One run of a training, from recipe and recording to the robot's checkpoint."""

from dataclasses import replace
from pathlib import Path

import lightning
import torch
from rich.console import Console
from rich.progress import track

from implicit_loc.checkpoint import save_checkpoint
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.description import begin_network, describe
from implicit_loc_trainer.training.lightning_trainer import lightning_trainer
from implicit_loc_trainer.training.loading import TrainingSet
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.run_folder import CHECKPOINT, prepare_folder
from implicit_loc_trainer.training.scene_training import SceneTraining


def train(recipe: Recipe) -> Path:
    """Train, or go on where an interrupted run of the same recipe stopped.

    Returns:
        The checkpoint for the robot.

    Raises:
        ConfigError: the recipe is not usable, or its folder holds a run of another recipe.
        DataError: the recording is not usable.
    """
    console = Console()
    folder = Path(recipe.run.output)
    state = prepare_folder(folder, recipe)
    samples = open_dataset(recipe.data.path, _split(recipe.data.train_split))
    if len(samples) < recipe.optimizer.batch_size:
        raise ConfigError(
            f'the recording has {len(samples)} frames, a batch takes '
            f'{recipe.optimizer.batch_size}: lower optimizer.batch_size'
        )
    lightning.seed_everything(recipe.run.seed, verbose=False)
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    network, description = begin_network(recipe, describe(recipe, samples))
    training_set = TrainingSet(
        track(samples, 'reading frames', console=console, transient=True),
        recipe.network.input_height,
        recipe.network.stride,
        recipe.augmentation,
        recipe.run.seed,
    )
    progress = TrainingProgress(recipe.optimizer.batch_size)
    module = SceneTraining(
        recipe, network, description, training_set, _validation_frames(recipe), progress.report
    )
    trainer = lightning_trainer(recipe, folder, progress)
    if state is not None:
        console.print(f'going on from {state}')
    _fit(trainer, module, state)
    validation = module.last_validation.as_json() if module.last_validation else {}
    figures = {name: float(value) for name, value in validation.items() if value is not None}
    path = folder / CHECKPOINT
    save_checkpoint(path, module.network, replace(description, validation=figures))
    return path


def _fit(trainer: lightning.Trainer, module: SceneTraining, state: Path | None) -> None:
    try:
        trainer.fit(module, ckpt_path=state, weights_only=True)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into a silent exit.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise


def _validation_frames(recipe: Recipe) -> list[Sample]:
    most = recipe.data.validation_frames
    if most == 0:
        return []
    samples = open_dataset(recipe.data.path, _split(recipe.data.validation_split))
    return samples[:: -(-len(samples) // most)]


def _split(name: str) -> str | Path:
    return name if name in ('train', 'test') else Path(name)
