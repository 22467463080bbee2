"""The folder of a run: its recipe, its state for resuming, its checkpoint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import (
    ConfigError,
    DataConfig,
    MapConfig,
    RunConfig,
)
from implicit_loc_trainer.training.folder_lock import folder_lock

STATE = 'last.ckpt'
RECIPE = 'recipe.yaml'
CHECKPOINT = 'checkpoint.safetensors'
LAST_GOOD = 'last_good.safetensors'
_LOCK = '.lock'
# Names under which a run's own files are written: of a file that is replaced, and of a checkpoint.
_HALF_FILES = tuple(
    f'.{name}.[0-9]*.{ending}'
    for name in (STATE, RECIPE, CHECKPOINT, LAST_GOOD, 'report.html')
    for ending in ('tmp', 'part')
)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other trainings out of a run's folder; creates it.

    Raises:
        FolderInUseError: another training is in it.
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    advice = 'wait for it, stop it, or choose another --run.output'
    with folder_lock(folder, _LOCK, advice):
        # What a killed run was writing; no other process can be at it now.
        for pattern in _HALF_FILES:
            for leftover in folder.glob(pattern):
                leftover.unlink(missing_ok=True)
        yield


def prepare_folder(folder: Path, recipe: Recipe) -> Path | None:
    """Put the recipe into the run's folder; returns the state to resume from, if it has one.

    Raises:
        ConfigError: the folder holds a run of another recipe.
    """
    text = yaml.safe_dump(asdict(recipe), sort_keys=False)
    folder.mkdir(parents=True, exist_ok=True)
    recorded, state = folder / RECIPE, folder / STATE
    is_begun = state.is_file() and recorded.is_file()
    if is_begun and _decisive(_recorded(recorded)) != _decisive(recipe):
        raise ConfigError(
            f'{folder} holds a run of another recipe ({recorded}): '
            'choose another --run.output, or delete the folder'
        )
    with replacing(recorded) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return state if state.is_file() else None


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether the folder holds the checkpoint of this recipe."""
    recorded = folder / RECIPE
    if not ((folder / CHECKPOINT).is_file() and recorded.is_file()):
        return False
    found, wanted = _recorded(recorded), _in_its_terms(recorded, recipe)
    return _decisive(found) == _decisive(wanted) and found.map == wanted.map


def as_begun(folder: Path, recipe: Recipe) -> Recipe:
    """The recipe with which an interrupted run goes on.

    Runs from before frames were held out for calibration have learned from all of them: their
    state would be of no use for other frames. What comes after the training they get as well.
    """
    recorded = folder / RECIPE
    if not ((folder / STATE).is_file() and recorded.is_file()):
        return recipe
    return replace(_in_its_terms(recorded, recipe), map=recipe.map)


def recipe_beside(checkpoint: Path) -> Recipe:
    """The recipe of the run that a checkpoint lies in; the default one where it lies in none.

    Raises:
        ConfigError: the recipe cannot be read.
    """
    path = checkpoint.parent / RECIPE
    return load_recipe(path) if path.is_file() else Recipe()


def _recorded(path: Path) -> Recipe:
    """The recipe of a run; entries that are newer than the run have their defaults."""
    return _in_its_terms(path, load_recipe(path))


def _in_its_terms(recorded: Path, recipe: Recipe) -> Recipe:
    """A recipe, without what there was not yet when a run recorded its own."""
    # Every recipe that a run records names every entry that there was.
    text = recorded.read_text(encoding='utf-8')
    if 'calibration_share' not in text:
        recipe = replace(recipe, data=replace(recipe.data, calibration_share=0.0))
    if not re.search('^map:', text, flags=re.MULTILINE):
        recipe = replace(recipe, map=MapConfig(landmarks=0))
    return recipe


def _decisive(recipe: Recipe) -> Recipe:
    """The recipe without what changes no weight, which a resumed run may choose anew."""
    data, run = DataConfig(), RunConfig()
    return replace(
        recipe,
        data=replace(recipe.data, cache=data.cache, cache_folder=data.cache_folder),
        map=MapConfig(),
        run=replace(
            recipe.run,
            devices=run.devices,
            workers=run.workers,
            save_every_minutes=run.save_every_minutes,
        ),
    )
