"""A batch whose loss is not finite leaves no trace in the weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_training
import torch
from safetensors.torch import load_file

from implicit_loc_trainer.training import lightning_trainer, loading
from implicit_loc_trainer.training.loading import Batch
from implicit_loc_trainer.training.run_folder import CHECKPOINT, LAST_GOOD, STATE
from implicit_loc_trainer.training.runs import train
from implicit_loc_trainer.training.weight_guard import BAD_BATCHES, DivergedError


@pytest.fixture(autouse=True)
def _recording(monkeypatch: pytest.MonkeyPatch) -> None:
    small_training.use(monkeypatch, small_training.samples())


def _spoil(patch: pytest.MonkeyPatch, bad: set[int], field: str) -> None:
    """Make every batch NaN whose number (over the training) is in the set."""
    whole, number = loading.collate, iter(range(10**6))

    def collate(views: list[object]) -> Batch:
        batch = whole(views)  # type: ignore[arg-type]
        spoiled = {field: torch.full_like(getattr(batch, field), torch.nan)}
        return batch._replace(**spoiled) if next(number) in bad else batch

    patch.setattr(loading, 'collate', collate)


def _state(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / STATE, weights_only=True)
    return state


@pytest.mark.parametrize(
    ('field', 'precision'),
    [
        ('world_from_camera', '32-true'),
        ('focal_length', '32-true'),
        ('rays', '32-true'),
        ('rays', 'bf16-mixed'),
    ],
)
def test_the_update_of_a_bad_batch_does_not_happen(
    field: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, moments and batch statistics after (good, bad) are those after (good)."""
    states = []
    small_training.use(monkeypatch, small_training.samples(8))
    monkeypatch.setattr(lightning_trainer, '_precision', lambda _: precision)
    for name, bad, frames in (('one', set(), 4), ('two', {1}, 8)):
        recipe = small_training.recipe(tmp_path / name, validate_every=9)
        with monkeypatch.context() as patch:
            order = range(frames)
            patch.setattr(loading.EpochOrder, '__iter__', lambda _, order=order: iter(order))
            _spoil(patch, bad, field)
            train(small_training.with_epochs(recipe, 1))
        states.append(_state(tmp_path / name))
    one, two = states
    for name, tensor in one['state_dict'].items():
        assert torch.isfinite(tensor).all()
        if not name.endswith('num_batches_tracked'):
            torch.testing.assert_close(two['state_dict'][name], tensor, rtol=0, atol=0, msg=name)
    moments = zip(
        one['optimizer_states'][0]['state'].values(),
        two['optimizer_states'][0]['state'].values(),
        strict=True,
    )
    for before, after in moments:
        for name in ('step', 'exp_avg', 'exp_avg_sq'):
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)


def test_a_bad_batch_is_written_down_with_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _spoil(monkeypatch, {4}, 'world_from_camera')
    train(small_training.recipe(tmp_path))
    (line,) = (tmp_path / BAD_BATCHES).read_text().splitlines()
    entry = json.loads(line)
    assert (entry['epoch'], entry['batch'], entry['seed']) == (1, 1, 1)
    assert entry['loss'] == 'nan'
    order = np.random.default_rng([1, 1]).permutation(small_training.FRAMES)
    assert entry['frames'] == [f'frame-{index}' for index in order[4:8]]
    assert 'epoch 1, batch 1: the loss is nan' in capsys.readouterr().out.replace('\n', ' ')


def test_three_bad_batches_in_a_row_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights from before them are kept, as a checkpoint to start from."""
    recipe = small_training.recipe(tmp_path)
    with monkeypatch.context() as patch:
        _spoil(patch, {4, 5, 6}, 'world_from_camera')
        with pytest.raises(DivergedError, match=r'epoch 2, batch 0.*last_good'):
            train(recipe)
    assert len((tmp_path / BAD_BATCHES).read_text().splitlines()) == 3
    assert not (tmp_path / CHECKPOINT).exists()
    good = load_file(tmp_path / LAST_GOOD)
    assert all(torch.isfinite(tensor.float()).all() for tensor in good.values())
    train(small_training.recipe(tmp_path / 'again', start_from=str(tmp_path / LAST_GOOD)))


def test_two_bad_batches_and_a_good_one_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil(monkeypatch, {1, 2, 4, 5, 7}, 'world_from_camera')
    train(small_training.recipe(tmp_path))
    assert len((tmp_path / BAD_BATCHES).read_text().splitlines()) == 5
