"""A training ends with a map that has landmarks; the command gives them anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_training
import torch
from safetensors.torch import load_file

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import load_checkpoint, save_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.landmarks import after_training
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError, DataConfig, MapConfig
from implicit_loc_trainer.training import runs
from implicit_loc_trainer.training.fine_tuning import fine_tuning_recipe
from implicit_loc_trainer.training.run_folder import RECIPE

MOST = 40


def _recipe(folder: Path) -> Recipe:
    """Twelve neighbouring frames of the demo room, learned for one epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [sample.name for sample in open_dataset('demo-room')[:48:4]]
    (folder / 'names.txt').write_text('\n'.join(names), encoding='utf-8')
    data = DataConfig(
        path='demo-room',
        train_split=str(folder / 'names.txt'),
        validation_frames=1,
        cache='memory',
        cache_folder=str(folder / 'cache'),
    )
    recipe = small_training.with_epochs(small_training.recipe(folder / 'run'), 1)
    return replace(recipe, data=data, map=MapConfig(landmarks=MOST))


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a training too short to learn anything."""
    return runs.train(_recipe(tmp_path_factory.mktemp('trained')))


def test_a_training_ends_with_landmarks_in_its_map(trained: Path) -> None:
    network, description = load_checkpoint(trained)
    assert network.landmarks is not None
    assert len(network.landmarks.positions) == description.network.landmarks == MOST
    lengths = network.landmarks.directions.norm(dim=-1).numpy()
    assert lengths == pytest.approx(1, abs=1e-4)
    sample = open_dataset('demo-room')[8]
    seen = [
        Localizer(network, description, 'cpu', solver).localize(sample.load_image(), sample.camera)
        for solver in ('robust', 'landmarks')
    ]
    assert all(np.isfinite(estimate.world_from_camera).all() for estimate in seen)


def test_the_figures_of_the_header_are_those_of_the_map_with_its_landmarks(trained: Path) -> None:
    """The validation frames are localized again."""
    _, description = load_checkpoint(trained)
    recipe = load_recipe(trained.parent / RECIPE)
    assert description.validation['frames'] == recipe.data.validation_frames == 1
    sample = open_dataset('demo-room', 'test')[0]
    estimate = Localizer.load(trained, 'cpu').localize(sample.load_image(), sample.camera)
    error = np.linalg.norm(estimate.world_from_camera[:3, 3] - sample.world_from_camera[:3, 3])
    assert description.validation['median_translation_m'] == pytest.approx(error, rel=0.05)


def test_the_command_gives_the_same_landmarks_again(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the frames that were learned, which it finds; the network stays as it is."""
    again = tmp_path / 'again.safetensors'
    words = ['landmarks', str(trained), '--data', 'demo-room', '--count', str(MOST)]
    assert cli.main([*words, '--output', str(again), '--device', 'cpu']) == 0
    said = capsys.readouterr().out
    assert f'{MOST} landmarks are in the map' in said
    assert f'implicit-loc calibrate {again} --data demo-room' in said
    before, after = load_file(trained), load_file(again)
    assert before.keys() == after.keys()
    # The training describes them in frames that it has resized before.
    described = ('landmarks.descriptors', 'landmarks.mean', 'landmarks.deviation')
    for name in before.keys() - set(described):
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0, msg=name)
    likeness = (before[described[0]].float() * after[described[0]].float()).sum(dim=-1)
    assert likeness.min() > 1.8
    fewer = tmp_path / 'fewer.safetensors'
    words = ['landmarks', str(again), '--data', 'demo-room', '--count', '7']
    split = ['--split', str(trained.parents[1] / 'names.txt')]
    assert cli.main([*words, *split, '--output', str(fewer), '--device', 'cpu']) == 0
    assert load_checkpoint(fewer)[1].network.landmarks == 7


def test_a_recording_that_was_not_learned_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / 'map.safetensors'
    alone.write_bytes(trained.read_bytes())
    assert cli.main(['landmarks', str(alone), '--data', 'demo-room']) == 1
    assert 'name the frames that it learned with --split' in capsys.readouterr().err
    assert alone.read_bytes() == trained.read_bytes()


def test_too_few_frames_leave_the_checkpoint_as_it_was(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / 'few.txt'
    few.write_text('train-0-0000\ntrain-0-0004\ntrain-0-0008\n', encoding='utf-8')
    before = trained.read_bytes()
    assert cli.main(['landmarks', str(trained), '--data', 'demo-room', '--split', str(few)]) == 1
    assert 'landmark' in capsys.readouterr().err
    assert trained.read_bytes() == before


def test_other_landmarks_undo_the_calibration(trained: Path, tmp_path: Path) -> None:
    """It was of other poses."""
    network, description = load_checkpoint(trained)
    calibrated = tmp_path / 'calibrated.safetensors'
    description = replace(description, calibration=Calibration(4.0, 2.0, frames=30))
    save_checkpoint(calibrated, network, description)
    frames = after_training.landmarks_of(_samples(trained), trained)
    after_training.add_landmarks(calibrated, frames, 9, calibrated, print, 'cpu')
    assert load_checkpoint(calibrated)[1].calibration == Calibration()


def test_weights_in_single_precision_stay_so(trained: Path, tmp_path: Path) -> None:
    network, description = load_checkpoint(trained)
    with torch.no_grad():
        network.depth_head[-1].weight.fill_(0.1)
    path = tmp_path / 'exact.safetensors'
    save_checkpoint(path, network, description, half_precision=False)
    frames = after_training.landmarks_of(_samples(trained), trained)
    after_training.add_landmarks(path, frames, 9, path, print, 'cpu')
    stored = load_file(path)[_last_weight(path)]
    assert float(stored.flatten()[0]) == np.float32(0.1)


def _last_weight(path: Path) -> str:
    return max(n for n in load_file(path) if n.startswith('depth_head') and n.endswith('weight'))


def _samples(trained: Path) -> list[Sample]:
    return open_dataset('demo-room', trained.parents[1] / 'names.txt')


def test_the_calibration_sees_the_landmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def calibrate(_recipe: Recipe, _frames: object, path: Path, _console: object) -> None:
        found.append(load_checkpoint(path)[1].network.landmarks)

    monkeypatch.setattr(runs, 'calibrate_after', calibrate)
    runs.train(_recipe(tmp_path))
    assert found == [MOST]


def test_landmarks_that_fail_do_not_undo_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError('out of memory')

    monkeypatch.setattr(after_training, 'describe_landmarks', fail)
    path = runs.train(_recipe(tmp_path))
    assert load_checkpoint(path)[1].network.landmarks == 0
    assert f'implicit-loc landmarks {path} --data demo-room' in capsys.readouterr().out


def test_a_recording_without_landmarks_is_learned_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small_training.use(monkeypatch, small_training.samples())
    recipe = small_training.with_epochs(small_training.recipe(tmp_path), 1)
    data = replace(recipe.data, cache_folder=str(tmp_path / 'cache'))
    path = runs.train(replace(recipe, data=data, map=MapConfig()))
    assert load_checkpoint(path)[1].network.landmarks == 0
    assert 'warning: the map will have no landmarks: no landmarks were found' in ' '.join(
        capsys.readouterr().out.split()
    )


def test_landmarks_for_the_map_alone_change_no_weight(trained: Path, tmp_path: Path) -> None:
    path = runs.train(replace(_recipe(tmp_path), map=MapConfig(landmarks=0)))
    with_landmarks, without = load_file(trained), load_file(path)
    assert {n for n in with_landmarks if not n.startswith('landmarks.')} == without.keys()
    for name, tensor in without.items():
        torch.testing.assert_close(with_landmarks[name], tensor, rtol=0, atol=0, msg=name)


def test_positions_alone_leave_the_landmarks_out(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network changes, and no frame shows what they look like to it then."""
    split = str(trained.parents[1] / 'names.txt')
    recipe = fine_tuning_recipe(trained, 'demo-room', str(tmp_path), 1, split=split)
    assert recipe.map == MapConfig(landmarks=MOST)
    path = runs.train(recipe)
    network, description = load_checkpoint(path)
    assert network.landmarks is None
    assert description.network.landmarks == 0
    assert f'the landmarks of {trained} are left out' in capsys.readouterr().out


def test_a_number_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'map\.landmarks is -1'):
        MapConfig(landmarks=-1)
