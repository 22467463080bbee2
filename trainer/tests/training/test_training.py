"""A small training end to end: it learns, it resumes exactly, and it refuses what cannot work."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import AugmentationConfig, ConfigError
from implicit_loc_trainer.training import loading
from implicit_loc_trainer.training.state_files import AtomicState

RECIPE = {
    'data': {'path': 'demo-room', 'validation_frames': 2},
    'network': {'input_height': 48, 'decoder_channels': 16},
    'optimizer': {'epochs': 3, 'batch_size': 4},
    'map': {'landmarks': 0},
    'run': {'device': 'cpu', 'validate_every': 2, 'threads': 1, 'report': False},
}


@pytest.fixture(scope='module')
def few_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of sixteen training frames."""
    path = tmp_path_factory.mktemp('split') / 'few.txt'
    path.write_text('\n'.join(f'train-0-{10 * i:04d}' for i in range(16)))
    return path


def _recipe_file(folder: Path, few_frames: Path, **run: object) -> Path:
    recipe = json.loads(json.dumps(RECIPE))
    recipe['data']['train_split'] = str(few_frames)
    recipe['run'].update(run)
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory, few_frames: Path) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp('finished')
    recipe = _recipe_file(folder, few_frames, output=str(folder / 'run'))
    assert cli.main(['train', str(recipe)]) == 0
    return folder / 'run'


def test_training_writes_a_checkpoint_that_the_localizer_loads(finished: Path) -> None:
    _, description = load_checkpoint(finished / 'checkpoint.safetensors')
    assert description.dataset == 'demo-room'
    assert description.input_height == 48
    assert len(description.keyframes) == 16
    assert description.validation['frames'] == 2
    assert (finished / 'recipe.yaml').is_file()


def test_the_loss_falls(finished: Path) -> None:
    lines = (finished / 'log' / 'version_0' / 'metrics.csv').read_text().splitlines()
    column = lines[0].split(',').index('loss/total')
    totals = [float(line.split(',')[column]) for line in lines[1:] if line.split(',')[column]]
    assert len(totals) == 3
    assert totals[-1] < totals[0]


def test_a_killed_training_goes_on_exactly(
    tmp_path: Path, few_frames: Path, finished: Path
) -> None:
    """SIGKILL after the first epoch; the final weights are those of the uninterrupted run.

    The views come from a helper process here, which changes nothing either.
    """
    recipe = _recipe_file(tmp_path, few_frames, output=str(tmp_path / 'run'), workers=1)
    command = [sys.executable, '-m', 'implicit_loc_trainer.cli', 'train', str(recipe)]
    process = subprocess.Popen(command, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    state = tmp_path / 'run' / 'last.ckpt'
    try:
        deadline = time.monotonic() + 200
        while not state.is_file() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / 'run' / 'checkpoint.safetensors').exists()
    assert cli.main(['train', str(recipe)]) == 0
    expected = load_file(finished / 'checkpoint.safetensors')
    resumed = load_file(tmp_path / 'run' / 'checkpoint.safetensors')
    for name, tensor in expected.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


def test_a_full_disk_keeps_the_earlier_state(tmp_path: Path) -> None:
    """Half a state would cost the whole training; a limit on file sizes stands in for the disk."""
    path = tmp_path / 'last.ckpt'
    AtomicState().save_checkpoint({'epoch': 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match='too large'):
            AtomicState().save_checkpoint({'epoch': 2, 'weights': torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert AtomicState().load_checkpoint(path)['epoch'] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, few_frames: Path) -> None:
    """Exit code 130, one line, the last whole epoch kept."""
    recipe = _recipe_file(tmp_path, few_frames, output=str(tmp_path / 'run'))
    command = [sys.executable, '-m', 'implicit_loc_trainer.cli', 'train', str(recipe)]
    process = subprocess.Popen(
        [*command, '--optimizer.epochs', '1000'],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests themselves run in the background, the shell has switched Ctrl-C off.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / 'run' / 'last.ckpt').is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert 'the same command goes on' in errors
    assert 'Traceback' not in errors


def test_a_finished_run_stays_as_it_is(finished: Path, tmp_path: Path, few_frames: Path) -> None:
    """The same command again trains nothing, and the header keeps its validation."""
    recipe = _recipe_file(tmp_path, few_frames, output=str(finished))
    _, before = load_checkpoint(finished / 'checkpoint.safetensors')
    assert cli.main(['train', str(recipe)]) == 0
    _, after = load_checkpoint(finished / 'checkpoint.safetensors')
    assert after == before


def test_a_folder_with_another_run_is_not_overwritten(
    finished: Path, tmp_path: Path, few_frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = _recipe_file(tmp_path, few_frames, output=str(finished))
    before = (finished / 'recipe.yaml').read_text()
    assert cli.main(['train', str(recipe), '--optimizer.learning_rate', '0.5']) == 1
    assert 'holds a run of another recipe' in capsys.readouterr().err
    assert (finished / 'recipe.yaml').read_text() == before


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (['--optimizer.epoch', '3'], 'optimizer.epoch'),
        (['--optimizer.epochs', 'many'], 'many'),
        (['--data.path', '/nowhere'], '/nowhere: it does not exist'),
        (['--data.train_split', '/nowhere.txt'], 'nowhere.txt'),
        (['--network.backbone', 'vgg'], "'vgg' is not known"),
        (['--network.stride', '5'], 'the stride 5 is not known; known are 4, 8, 16'),
        (['--optimizer.batch_size', '64'], 'lower optimizer.batch_size'),
        (['--run.device', 'abacus'], "'abacus'"),
        (['--run.validate_every', '0'], 'run.validate_every is 0; it must be at least 1'),
        (['--optimizer.learning_rate', '.nan'], 'optimizer.learning_rate is nan'),
        (['--augmentation.zoom', '0'], 'augmentation.zoom is 0'),
        (['--data.validation_frames', '-1'], 'data.validation_frames is -1'),
        (['--data.cache', 'ram'], "data.cache is 'ram'; it must be memory, disk or auto"),
        (['--run.save_every_minutes', '-1'], 'run.save_every_minutes is -1'),
    ],
)
def test_a_recipe_that_cannot_work_ends_in_one_line(
    overrides: list[str],
    message: str,
    tmp_path: Path,
    few_frames: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = _recipe_file(tmp_path, few_frames, output=str(tmp_path / 'run'))
    assert cli.main(['train', str(recipe), *overrides]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert 'Traceback' not in error


def test_a_training_can_start_from_a_checkpoint(
    finished: Path, tmp_path: Path, few_frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It begins with those weights, and refuses a network of another layout."""
    start = finished / 'checkpoint.safetensors'
    recipe = _recipe_file(tmp_path, few_frames, output=str(tmp_path / 'run'))
    still = ['--run.start_from', str(start), '--optimizer.epochs', '1']
    still += ['--optimizer.learning_rate', '1e-12', '--data.validation_frames', '0']
    assert cli.main(['train', str(recipe), *still]) == 0
    first, again = load_file(start), load_file(tmp_path / 'run' / 'checkpoint.safetensors')
    for name in (name for name in first if name.endswith('weight')):
        torch.testing.assert_close(again[name], first[name], rtol=1e-3, atol=1e-6)
    other = ['--network.decoder_channels', '8', '--run.output', str(tmp_path / 'other')]
    assert cli.main(['train', str(recipe), *still, *other]) == 1
    assert 'has network.decoder_channels 16, the recipe 8' in capsys.readouterr().err


def test_recipes_are_overridden_key_by_key(tmp_path: Path, few_frames: Path) -> None:
    path = _recipe_file(tmp_path, few_frames)
    recipe = load_recipe(path, ['--loss.pose', '0', '--network.far', '5'])
    assert recipe.loss.pose == 0
    assert recipe.network.far == 5
    assert recipe.network.near == Recipe().network.near
    assert recipe.optimizer.epochs == 3
    with pytest.raises(ConfigError, match='does not exist'):
        load_recipe(tmp_path / 'missing.yaml')


def _samples(count: int) -> list[Sample]:
    camera = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(count)]
    return [
        Sample(str(index), camera, np.eye(4), index / 10, lambda image=image: image)  # type: ignore[misc]
        for index, image in enumerate(images)
    ]


def test_batches_follow_from_seed_and_epoch_alone() -> None:
    """The same epoch gives the same bytes, another epoch another order and other views."""
    dataset = loading.TrainingSet(_samples(9), 48, 8, AugmentationConfig(), seed=3)
    loader = loading.training_loader(dataset, batch_size=4, seed=3)

    def batches(epoch: int) -> list[loading.Batch]:
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        return list(loader)

    first, again, other = batches(5), batches(5), batches(6)
    assert len(first) == 2  # the ninth frame waits for another epoch
    for a, b in zip(first, again, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)
    assert not torch.equal(first[0].images, other[0].images)
    assert first[0].images.shape == (4, 3, 48, 64)
    assert first[0].rays.shape == (4, 6, 8, 3)
