"""A training calibrates its checkpoint on what it held out; the command does it again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_training

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc_trainer import cli
from implicit_loc_trainer.calibration.degraded import CLEAN, looks
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.datasets.splits import select_listed
from implicit_loc_trainer.recipes.sections import DataConfig
from implicit_loc_trainer.training import runs
from implicit_loc_trainer.training.description import fingerprint

FRAMES = 40
SHARE = 0.3


def _names(tmp_path: Path) -> Path:
    """Every sixth frame of one flight through the demo room."""
    chosen = [sample.name for sample in open_dataset('demo-room')[: 6 * FRAMES : 6]]
    file = tmp_path / 'names.txt'
    file.write_text('\n'.join(chosen), encoding='utf-8')
    return file


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training too short to learn anything."""
    folder = tmp_path_factory.mktemp('run')
    recipe = small_training.with_epochs(small_training.recipe(folder), 1)
    data = DataConfig(
        path='demo-room',
        train_split=str(_names(folder)),
        calibration_share=SHARE,
        validation_frames=0,
        cache='memory',
    )
    return runs.train(replace(recipe, data=data))


def test_a_training_ends_with_a_calibrated_checkpoint(trained: Path) -> None:
    """Of the frames that it has learned from, none is among those that calibrated it."""
    network, description = load_checkpoint(trained)
    assert description.calibration.frames >= 12
    assert description.calibration != Calibration()
    frames = select_listed(open_dataset('demo-room'), trained.parent / 'names.txt')
    assert description.dataset_fingerprint != fingerprint(frames)
    sample = frames[0]
    estimate = Localizer(network, description, 'cpu').localize(sample.load_image(), sample.camera)
    assert 0 <= estimate.confidence <= 1


def test_the_command_finds_the_held_out_frames_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / 'again.safetensors'
    words = ['calibrate', str(trained), '--data', 'demo-room', '--output', str(again)]
    assert cli.main([*words, '--device', 'cpu']) == 0
    assert 'calibrated on' in capsys.readouterr().out
    assert load_checkpoint(again)[1] == load_checkpoint(trained)[1]


def test_frames_that_were_not_held_out_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint without its recipe, on the whole recording."""
    alone = tmp_path / 'map.safetensors'
    alone.write_bytes(trained.read_bytes())
    assert cli.main(['calibrate', str(alone), '--data', 'demo-room']) == 1
    assert 'name frames that it never learned with --split' in capsys.readouterr().err
    assert alone.read_bytes() == trained.read_bytes()


def test_too_few_frames_leave_the_checkpoint_as_it_was(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / 'few.txt'
    few.write_text('test-0000\ntest-0001\n', encoding='utf-8')
    before = trained.read_bytes()
    words = ['calibrate', str(trained), '--data', 'demo-room', '--split', str(few)]
    assert cli.main(words) == 1
    assert 'a calibration needs 12' in capsys.readouterr().err
    assert trained.read_bytes() == before


def test_a_calibration_that_fails_does_not_undo_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('out of memory')

    monkeypatch.setattr(
        'implicit_loc_trainer.calibration.after_training.calibrate_checkpoint', fail
    )
    small_training.use(monkeypatch, _apart(small_training.samples(60)))
    recipe = small_training.with_epochs(small_training.recipe(tmp_path), 1)
    path = runs.train(replace(recipe, data=replace(recipe.data, calibration_share=0.3)))
    assert load_checkpoint(path)[1].calibration == Calibration()
    assert f'implicit-loc calibrate {path} --data made-up' in capsys.readouterr().out


def _apart(samples: list[Sample]) -> list[Sample]:
    """The same frames, too far from each other to show the same."""
    moved = []
    for index, sample in enumerate(samples):
        pose = sample.world_from_camera.copy()
        pose[1, 3] = index
        moved.append(replace(sample, world_from_camera=pose))
    return moved


def test_a_frame_is_looked_at_in_the_same_ways_every_time() -> None:
    sample = open_dataset('demo-room', 'test')[3]
    first, second = (list(looks(sample, 5, 'demo-room', 3)) for _ in range(2))
    assert [look.kind for look in first] == [look.kind for look in second]
    assert first[0].kind == CLEAN
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    foreign = [look for look in first if look.world_from_camera is None]
    assert len(first) == 7
    assert len(foreign) in (2, 3)
    assert {look.image.shape for look in first} == {(480, 640, 3)}


def test_all_ways_take_their_turn() -> None:
    sample = small_training.samples(1)[0]
    seen = {look.kind for index in range(12) for look in looks(sample, index, 'elsewhere', 1)}
    every = {look.kind for look in looks(sample, 0, 'elsewhere', 100)}
    assert seen == every
