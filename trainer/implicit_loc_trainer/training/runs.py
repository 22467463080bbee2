"""One run of a training, from recipe and recording to the robot's checkpoint."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from rich.console import Console

from implicit_loc.checkpoint import save_checkpoint
from implicit_loc_trainer.calibration.after_training import calibrate_after
from implicit_loc_trainer.landmarks.after_training import landmarks_after
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.description import validation_figures
from implicit_loc_trainer.training.distributed.launch import launch
from implicit_loc_trainer.training.distributed.placement import (
    Placement,
    check_batch,
    placement,
)
from implicit_loc_trainer.training.distributed.processes import (
    is_first_process,
    on_first_process,
)
from implicit_loc_trainer.training.distributed.spread import connect, only_first_prints
from implicit_loc_trainer.training.lightning_trainer import lightning_trainer
from implicit_loc_trainer.training.preparing import (
    Frames,
    bring_frames,
    network_to_train,
    split_frames,
    training_set,
    with_known_landmarks,
)
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.run_folder import (
    CHECKPOINT,
    LAST_GOOD,
    as_begun,
    locked,
    prepare_folder,
)
from implicit_loc_trainer.training.scene_training import SceneTraining
from implicit_loc_trainer.training.weight_guard import DivergedError


def train(recipe: Recipe) -> Path:
    """Train, or go on where an interrupted run of the same recipe stopped.

    Returns:
        The checkpoint for the robot.

    Raises:
        ConfigError: the recipe is not usable, or its folder holds a run of another recipe.
        DataError: the recording is not usable.
        ProcessError: one of several processes failed.
    """
    place = placement(recipe.run)
    check_batch(recipe.optimizer, place)
    if place.must_be_launched:
        launch(recipe, place)
    else:
        with only_first_prints(place), ExitStack() as stack:
            _train_here(recipe, place, stack)
    return Path(recipe.run.output) / CHECKPOINT


def _train_here(asked: Recipe, place: Placement, stack: ExitStack) -> None:
    console = Console()
    folder = Path(asked.run.output)
    progress = TrainingProgress(asked.optimizer.batch_size)
    trainer = lightning_trainer(asked, folder, progress, place)
    connect(trainer, place)
    on_first_process(lambda: stack.enter_context(locked(folder)))
    recipe = on_first_process(lambda: as_begun(folder, asked))
    state = on_first_process(lambda: prepare_folder(folder, recipe))
    split = split_frames(recipe, console)
    samples = with_known_landmarks(recipe, split.learned, console)
    lightning.seed_everything(recipe.run.seed, verbose=False)
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    network, description = network_to_train(recipe, samples, state, console)
    frames = bring_frames(recipe, samples, split, place.devices, console, progress.report)
    views = training_set(recipe, frames.learned)
    module = SceneTraining(recipe, network, description, views, frames.validation, progress.report)
    _fit_or_keep_the_last_good(trainer, module, state, folder)
    if is_first_process():
        _finish(recipe, module, frames, folder / CHECKPOINT, console)


def _fit_or_keep_the_last_good(
    trainer: lightning.Trainer, module: SceneTraining, state: Path | None, folder: Path
) -> None:
    try:
        _fit(trainer, module, state)
    except DivergedError as error:
        path = folder / LAST_GOOD
        # The others wait: where one process ends with an error, the launcher ends them all.
        on_first_process(lambda: save_checkpoint(path, module.learned_network, module.description))
        raise DivergedError(f'{error}; the last good weights are in {path}') from error


def _finish(
    recipe: Recipe, module: SceneTraining, frames: Frames, checkpoint: Path, console: Console
) -> None:
    """Writes the checkpoint, and then what is known about it; each step builds on the one before.

    The checkpoint is whole after the first step: the others replace it, or leave it.
    """
    header = replace(module.description, validation=validation_figures(module.last_validation))
    save_checkpoint(checkpoint, module.learned_network, header)
    landmarks_after(recipe, frames.learned, frames.validation, checkpoint, console)
    calibrate_after(recipe, frames.held_out, checkpoint, console)
    # Drawing takes seconds to import, and is not needed before.
    from implicit_loc_trainer.report.writing import write_report_after

    write_report_after(recipe, frames.learned, frames.validation, checkpoint)


def _fit(trainer: lightning.Trainer, module: SceneTraining, state: Path | None) -> None:
    try:
        trainer.fit(module, ckpt_path=state, weights_only=True)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into a silent exit.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise
