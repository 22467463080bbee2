"""A training in a process of its own: whose end it shares, and who may be in its folder."""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_training
import yaml

from implicit_loc_trainer.ablation import apart, running
from implicit_loc_trainer.ablation.apart import Outcome, train_apart
from implicit_loc_trainer.ablation.grid import Budget, Grid, load_grid
from implicit_loc_trainer.ablation.results import Results
from implicit_loc_trainer.ablation.running import Ablation
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.folder_lock import FolderInUseError
from implicit_loc_trainer.training.run_folder import CHECKPOINT, locked

ROOM = Scene('', 'Room', 'demo-room')
CONFIGS = Path(__file__).parents[2] / 'configs'
GRID = {
    'base': str(CONFIGS / 'default.yaml'),
    'variants': {'third': {'every': 3}, 'tuned': {'fine_tunes': 'third'}},
    'tables': [
        {'name': 'scenes', 'title': 'Scenes', 'layout': 'scenes', 'columns': ['Method'],
         'rows': [{'label': ['tuned'], 'variant': 'tuned'}]},
    ],
}  # fmt: skip


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.read_text()


def _say(path: Path) -> None:
    """Write the process's id whole, and stay."""
    part = path.with_suffix('.part')
    part.write_text(str(os.getpid()))
    part.rename(path)
    time.sleep(100)


def _end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _lives(process: int) -> bool:
    try:
        state = Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != 'Z'


@pytest.mark.skipif(sys.platform != 'linux', reason='only the Linux kernel does this')
def test_a_killed_command_takes_its_training_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / 'process'
    monkeypatch.setattr(apart, '_outcome', lambda *_, **__: _say(said))
    recipe = small_training.recipe(tmp_path / 'run')
    command = small_training.in_a_fork(lambda: train_apart(recipe, ROOM, tmp_path))
    training = int(_wait_for(said))
    assert training != command
    assert _lives(training)
    _end(command)
    deadline = time.monotonic() + 60
    while _lives(training) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(training)


def _hold(folder: Path, said: Path) -> None:
    with locked(folder):
        _say(said)


def test_a_folder_in_use_is_found_before_the_training(tmp_path: Path) -> None:
    said, folder = tmp_path / 'process', tmp_path / 'run'
    other = small_training.in_a_fork(lambda: _hold(folder, said))
    try:
        _wait_for(said)
        with pytest.raises(FolderInUseError, match=f'in use by process {other} '):
            train_apart(small_training.recipe(folder), ROOM, tmp_path)
    finally:
        _end(other)


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    """A variant by the default recipe, and one that refines its checkpoint."""
    (tmp_path / 'grid.yaml').write_text(yaml.safe_dump(GRID))
    return load_grid(tmp_path / 'grid.yaml')


@pytest.fixture
def ablation(grid: Grid, tmp_path: Path) -> Ablation:
    """Of the demo room."""
    return Ablation(grid, [ROOM], Budget(), {}, tmp_path / 'out', lambda _: None)


def test_a_run_that_could_not_begin_is_tried_again(
    ablation: Ablation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose folder is in use, and the one that needs its checkpoint."""

    def in_use(recipe: Recipe, *_: object) -> Outcome:
        raise FolderInUseError(f'{recipe.run.output} is in use by process 7')

    def trained(recipe: Recipe, *_: object) -> Outcome:
        folder = Path(recipe.run.output)
        folder.mkdir(parents=True)
        (folder / CHECKPOINT).touch()
        return Outcome()

    path = tmp_path / 'results.jsonl'
    runs = list(ablation.runs())
    monkeypatch.setattr(running, 'train_apart', in_use)
    reasons = [ablation.carry_out(run, Results(path)).reason for run in runs]
    assert 'in use by process 7' in reasons[0]
    assert 'is not there' in reasons[1]
    assert not path.is_file()
    monkeypatch.setattr(running, 'train_apart', trained)
    assert [ablation.carry_out(run, Results(path)).reason for run in runs] == ['', '']
    assert len(path.read_text().splitlines()) == 2


def test_positions_are_learned_without_landmarks(ablation: Ablation, grid: Grid) -> None:
    first, tuned = ablation.runs()
    assert first.recipe.loss == grid.base.loss
    assert first.recipe.loss.landmarks
    assert first.recipe.network.backbone_weights
    without = replace(grid.base.loss, landmarks=0, landmark_depth=0)
    assert tuned.recipe.loss == without
    assert tuned.recipe.network.backbone_weights == ''
