"""A training that is killed at any moment ends with the weights of one that never was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_training
import torch
from safetensors.torch import load_file

from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training import state_files
from implicit_loc_trainer.training.run_folder import CHECKPOINT, STATE
from implicit_loc_trainer.training.runs import train

# Before every batch but an epoch's first, which follows a state already.
OFTEN = 1e-9


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Of an uninterrupted training that writes its state at the ends of epochs alone."""
    folder = tmp_path_factory.mktemp('whole')
    with pytest.MonkeyPatch.context() as patch:
        small_training.use(patch, small_training.samples())
        return load_file(train(small_training.recipe(folder, save_every_minutes=0.0)))


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    small_training.use(monkeypatch, small_training.samples())


def _assert_same(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    found = load_file(folder / CHECKPOINT)
    assert found.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


class _KilledError(Exception):
    """Stands in for a kill: nothing in the training catches it."""


@pytest.mark.usefixtures('recording')
@pytest.mark.parametrize('last_save', range(1, 9))
def test_every_state_leads_to_the_same_weights(
    last_save: int,
    tmp_path: Path,
    weights: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """States are written before every batch; the training ends right after each one in turn."""
    recipe = small_training.recipe(tmp_path, save_every_minutes=OFTEN)
    _train_until(last_save, recipe, monkeypatch)
    train(recipe)
    _assert_same(tmp_path, weights)


@pytest.mark.usefixtures('recording')
def test_average_phases_and_frozen_stages_go_on_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the geometry phase; what is kept is the average of the weights."""
    extras = {'ema_decay': 0.9, 'frozen_stages': 1, 'geometry_share': 0.5}
    recipes = [
        small_training.with_epochs(
            small_training.recipe(tmp_path / name, save_every_minutes=OFTEN), 3, **extras
        )
        for name in ('whole', 'interrupted')
    ]
    train(recipes[0])
    _train_until(4, recipes[1], monkeypatch)
    train(recipes[1])
    kept = load_file(tmp_path / 'whole' / CHECKPOINT)
    _assert_same(tmp_path / 'interrupted', kept)
    states = [
        torch.load(tmp_path / name / STATE, weights_only=True)['state_dict']
        for name in ('whole', 'interrupted')
    ]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=0, msg=name)
    for name, tensor in kept.items():
        averaged = states[0][f'_average.network.{name}']
        torch.testing.assert_close(tensor, averaged.to(tensor.dtype), rtol=0, atol=0, msg=name)
    last = states[0]['network.world_head.0.weight']
    assert not torch.equal(kept['world_head.0.weight'], last.to(kept['world_head.0.weight'].dtype))


def _train_until(last_save: int, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains, and ends as if killed right after a number of states was written."""
    whole = state_files.AtomicState.save_checkpoint
    saves = 0
    folder = Path(recipe.run.output)

    def save(*arguments: object, **options: object) -> None:
        nonlocal saves
        whole(*arguments, **options)
        saves += 1
        if saves == last_save:
            raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(state_files.AtomicState, 'save_checkpoint', save)
        with pytest.raises(_KilledError):
            train(recipe)
    state = torch.load(folder / STATE, weights_only=True)
    assert state['global_step'] == last_save
    assert not (folder / CHECKPOINT).exists()


def _kill_when(process: int, ready: Callable[[], bool]) -> bool:
    """Whether the process had to be killed; it may end before."""
    while not ready():
        if os.waitpid(process, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def kill_again_and_again(folder: Path) -> int:
    """Train in processes that are killed at random, and while they write; returns the kills."""
    patch = pytest.MonkeyPatch()
    small_training.use(patch, small_training.samples())
    # A slow disk, so that kills find half a state.
    flush = os.fsync
    patch.setattr(os, 'fsync', lambda file: (time.sleep(0.03), flush(file))[1])
    recipe = small_training.recipe(folder, save_every_minutes=OFTEN)
    random, kills = np.random.default_rng(7), 0
    for attempt in range(6):
        state, states = folder / STATE, set()
        deadline = time.monotonic() + float(random.uniform(0.1, 2.0))

        def is_time(state: Path = state, deadline: float = deadline) -> bool:
            return time.monotonic() > deadline

        def is_writing(state: Path = state, states: set[int] = states) -> bool:
            # The second state of this process: each attempt gets on by one at least.
            if state.is_file():
                states.add(state.stat().st_mtime_ns)
            return len(states) > 1 and any(folder.glob('.last.ckpt.*.tmp'))

        process = small_training.in_a_fork(lambda: train(recipe))
        kills += _kill_when(process, is_writing if attempt % 2 else is_time)
    train(recipe)
    return kills


def test_kills_at_any_moment_change_nothing(
    tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    """In a fresh process: one that has trained already cannot be forked."""
    code = f"""
from pathlib import Path
from test_resuming import kill_again_and_again
assert kill_again_and_again(Path({str(tmp_path)!r})) >= 4
"""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent)])
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': paths}
    subprocess.run([sys.executable, '-c', code], check=True, env=environment, timeout=500)
    _assert_same(tmp_path, weights)
    assert not list(tmp_path.glob('.*.tmp'))
