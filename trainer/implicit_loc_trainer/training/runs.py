"""One run of a training, from recipe and recording to the robot's checkpoint."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from rich.console import Console

from implicit_loc.checkpoint import save_checkpoint
from implicit_loc_trainer.calibration.after_training import calibrate_after
from implicit_loc_trainer.calibration.splitting import CalibrationSplit
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.description import begin_network, describe
from implicit_loc_trainer.training.distributed.launch import launch
from implicit_loc_trainer.training.distributed.placement import (
    Placement,
    check_batch,
    placement,
)
from implicit_loc_trainer.training.distributed.processes import (
    is_first_process,
    on_first_process,
    together,
)
from implicit_loc_trainer.training.distributed.spread import connect, only_first_prints
from implicit_loc_trainer.training.frame_cache import FrameCache, cache_root, shrunk_in_memory
from implicit_loc_trainer.training.lightning_trainer import lightning_trainer
from implicit_loc_trainer.training.loading import TrainingSet
from implicit_loc_trainer.training.mixed_recordings import (
    split_of,
    training_frames,
    typical_depth,
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
    split = together(lambda: training_frames(recipe))
    console.print(split.described(), highlight=False, soft_wrap=True)
    samples = split.learned
    if len(samples) < recipe.optimizer.batch_size:
        raise ConfigError(
            f'the recording has {len(samples)} frames to learn from, a batch takes '
            f'{recipe.optimizer.batch_size}: lower optimizer.batch_size'
        )
    if recipe.loss.landmarks or recipe.loss.landmark_depth or recipe.augmentation.move:
        samples = _with_landmarks(recipe, samples, console)
    lightning.seed_everything(recipe.run.seed, verbose=False)
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    network, description = begin_network(
        recipe, describe(recipe, samples), resumes=state is not None
    )
    cache = FrameCache(samples, recipe.network.input_height, recipe.data, console, place.devices)
    on_disk = on_first_process(cache.choose_disk)
    frames = together(lambda: cache.frames(on_disk))
    training_set = TrainingSet(
        frames,
        recipe.network.input_height,
        recipe.network.stride,
        recipe.augmentation,
        recipe.run.seed,
    )
    validation = together(lambda: _validation_frames(recipe, progress.report))
    held_out = together(lambda: _calibration_frames(recipe, split, progress.report))
    console.print('all frames are read: the recording is not needed any more')
    module = SceneTraining(recipe, network, description, training_set, validation, progress.report)
    if state is not None:
        console.print(f'going on from {state}')
    try:
        _fit(trainer, module, state)
    except DivergedError as error:
        path = folder / LAST_GOOD
        # The others wait: where one process ends with an error, the launcher ends them all.
        on_first_process(lambda: save_checkpoint(path, module.learned_network, description))
        raise DivergedError(
            f'{error}; the last good weights are in {folder / LAST_GOOD}'
        ) from error
    found = module.last_validation.as_json() if module.last_validation else {}
    figures = {name: float(value) for name, value in found.items() if value is not None}
    if is_first_process():
        header = replace(description, validation=figures)
        save_checkpoint(folder / CHECKPOINT, module.learned_network, header)
        calibrate_after(recipe, held_out, folder / CHECKPOINT, console)
        # Drawing takes seconds to import, and is not needed before.
        from implicit_loc_trainer.report.writing import write_report_after

        write_report_after(recipe, frames, validation, folder / CHECKPOINT)


def _fit(trainer: lightning.Trainer, module: SceneTraining, state: Path | None) -> None:
    try:
        trainer.fit(module, ckpt_path=state, weights_only=True)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into a silent exit.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise


def _with_landmarks(recipe: Recipe, samples: list[Sample], console: Console) -> list[Sample]:
    # OpenCV's features and SciPy's graphs are not needed without landmarks.
    from implicit_loc_trainer.landmarks.finding import find_landmarks, with_landmarks

    depth, folder = typical_depth(recipe), cache_root(recipe.data)
    found = on_first_process(lambda: find_landmarks(samples, depth, folder, console))
    return with_landmarks(samples, found)


def _validation_frames(recipe: Recipe, report: Callable[[str], None]) -> list[Sample]:
    most = recipe.data.validation_frames
    if most == 0:
        return []
    samples = open_dataset(recipe.data.path, split_of(recipe.data.validation_split))
    chosen = samples[:: -(-len(samples) // most)]
    return shrunk_in_memory(chosen, recipe.network.input_height, report)


def _calibration_frames(
    recipe: Recipe, split: CalibrationSplit, report: Callable[[str], None]
) -> list[Sample]:
    if not is_first_process():
        return []
    return shrunk_in_memory(split.held_out, recipe.network.input_height, report, 'calibration')
