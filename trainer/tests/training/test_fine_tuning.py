"""Positions alone: what they teach, what they cannot, and who refuses them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets import DataError, Sample, open_dataset
from implicit_loc_trainer.datasets.sample import check_orientations
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import (
    AugmentationConfig,
    ConfigError,
    DataConfig,
    LossConfig,
    RunConfig,
)
from implicit_loc_trainer.training import frame_decoding, losses
from implicit_loc_trainer.training.fine_tuning import fine_tuning_recipe
from implicit_loc_trainer.training.frame_cache import FrameCache
from implicit_loc_trainer.training.loading import TrainingSet, collate
from implicit_loc_trainer.training.mixed_recordings import check_one_shape

ROOT = Path(__file__).parents[3]
CHECKPOINT = ROOT / 'models' / 'demo_room.safetensors'
DEFAULT = ROOT / 'trainer' / 'configs' / 'default.yaml'
CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)


def _samples() -> list[Sample]:
    """Two oriented frames and two of known position."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    samples = []
    for index in range(4):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0.1, 0.5 * index, 0]).as_matrix()
        pose[:3, 3] = (index, 2, 3)
        samples.append(Sample(f'frame {index}', CAMERA, pose, index / 10, lambda: image))
    return [*samples[:2], *(sample.position_only() for sample in samples[2:])]


def test_a_position_keeps_nothing_of_the_orientation() -> None:
    oriented, position = _samples()[1], _samples()[3]
    assert oriented.has_orientation
    assert not position.has_orientation
    np.testing.assert_array_equal(position.world_from_camera[:3, :3], np.eye(3))
    np.testing.assert_array_equal(position.world_from_camera[:3, 3], (3, 2, 3))


def test_a_turned_view_keeps_its_position() -> None:
    """Rotations of the view are about the optical centre; the batch says what is known."""
    dataset = TrainingSet(_samples(), 48, 8, AugmentationConfig(), seed=1)
    batch = collate([dataset[index] for index in range(4)])
    assert batch.has_orientation.tolist() == [True, True, False, False]
    expected = torch.tensor([[index, 2, 3] for index in range(4)], dtype=torch.float32)
    torch.testing.assert_close(batch.world_from_camera[:, :3, 3], expected)


def test_the_angle_counts_where_it_is_known() -> None:
    """One frame is wrong by 0.5 m and 0.2 rad; without orientation by 0.5 m alone."""
    true = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    estimated = true.clone()
    turn = Rotation.from_rotvec([0, 0.2, 0]).as_matrix()
    estimated[:, :3, :3] = torch.from_numpy(turn)
    estimated[:, :3, 3] = torch.tensor([0.3, 0.0, 0.4])
    for known, expected in (([True, True], 0.7), ([True, False], 0.6), ([False, False], 0.5)):
        loss = losses.pose_loss(estimated, true, torch.tensor(known))
        assert float(loss) == pytest.approx(expected)


def test_commands_that_need_orientations_refuse_positions() -> None:
    with pytest.raises(DataError, match=r'2 of 4 frames only the position.*frame 2.*finetune'):
        check_orientations('the recording', _samples())
    check_orientations('the recording', _samples()[:2])


def test_frames_of_two_shapes_are_refused() -> None:
    samples = _samples()
    wide = replace(samples[0], name='wide', camera=replace(CAMERA, width=128))
    with pytest.raises(DataError, match='wide has 128x48 pixels'):
        check_one_shape([*samples, wide], 48)


@pytest.mark.parametrize(
    'changes', [{'run': RunConfig()}, {'loss': LossConfig(pose=0)}], ids=['start', 'pose loss']
)
def test_positions_need_a_beginning_and_the_pose_loss(changes: dict[str, object]) -> None:
    data = DataConfig(path='somewhere', positions_only=True)
    usable = Recipe(data=data, run=RunConfig(start_from='earlier.safetensors'))
    with pytest.raises(ConfigError, match='positions_only'):
        replace(usable, **changes)


def test_positions_of_held_out_frames_lower_their_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo room's checkpoint learns the positions of eight frames that it never saw."""
    names = [sample.name for sample in open_dataset('demo-room', 'test')][::12][:8]
    held_out = tmp_path / 'held_out.txt'
    held_out.write_text('\n'.join(names))
    command = ['finetune', str(CHECKPOINT), '--positions', 'demo-room', '--split', str(held_out)]
    command += ['--epochs', '20', '--output', str(tmp_path / 'tuned'), '--set']
    changes = ['run.device=cpu', 'run.threads=1', 'optimizer.batch_size=4']
    changes += ['optimizer.learning_rate=3e-4', 'augmentation.zoom=1', 'augmentation.tilt_deg=2']
    changes += ['augmentation.roll_deg=5']
    assert cli.main([*command, *changes]) == 0
    tuned = tmp_path / 'tuned' / 'checkpoint.safetensors'
    assert _median_translation(tuned, held_out) < 0.8 * _median_translation(CHECKPOINT, held_out)
    _, before = load_checkpoint(CHECKPOINT)
    _, after = load_checkpoint(tuned)
    assert after.network == replace(before.network, landmarks=0)
    assert after.dataset == before.dataset
    # Positions say nothing about where a camera looked.
    assert after.keyframes == before.keyframes
    capsys.readouterr()
    assert cli.main([*command, *changes, 'optimizer.speed=3']) == 1
    assert 'speed' in capsys.readouterr().err


def _beside_default_recipe(folder: Path) -> Path:
    """A checkpoint beside the recipe of a default training."""
    shutil.copy(DEFAULT, folder / 'recipe.yaml')
    return Path(shutil.copy(CHECKPOINT, folder))


def test_positions_alone_refine_a_training_with_landmarks(tmp_path: Path) -> None:
    earlier = load_recipe(DEFAULT)
    assert earlier.loss.landmarks
    assert earlier.optimizer.frozen_stages
    assert earlier.network.backbone_weights
    names = [sample.name for sample in open_dataset('demo-room', 'test')][:4]
    held_out = tmp_path / 'held_out.txt'
    held_out.write_text('\n'.join(names))
    checkpoint, output = _beside_default_recipe(tmp_path), tmp_path / 'tuned'
    command = ['finetune', str(checkpoint), '--positions', 'demo-room', '--split', str(held_out)]
    command += ['--epochs', '1', '--output', str(output), '--set', 'run.device=cpu']
    assert cli.main([*command, 'run.threads=1', 'optimizer.batch_size=2']) == 0
    tuned = load_recipe(output / 'recipe.yaml')
    assert (tuned.loss.landmarks, tuned.loss.landmark_depth) == (0, 0)
    assert tuned.loss.consistency == earlier.loss.consistency
    assert tuned.network.backbone_weights == ''
    assert (output / 'checkpoint.safetensors').is_file()


def test_whole_poses_beside_positions_keep_the_landmarks(tmp_path: Path) -> None:
    checkpoint = _beside_default_recipe(tmp_path)
    recipe = fine_tuning_recipe(checkpoint, 'demo-room', str(tmp_path), 1, more=['demo-room'])
    assert recipe.loss == load_recipe(DEFAULT).loss
    assert recipe.network.backbone_weights == ''


def _median_translation(checkpoint: Path, split: Path) -> float:
    # What is learned from positions; landmarks hide it, and do not survive it.
    localizer = Localizer.load(checkpoint, 'cpu', solver='weighted')
    frames = evaluate(localizer, open_dataset('demo-room', split), shown=0).frames
    return summary(frames).median_translation_m


def test_a_recording_of_positions_with_bad_images_has_not_vanished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the training takes without orientations is looked for without them."""

    def cut_short() -> NDArray[np.uint8]:
        raise DataError('cut short')

    def positions(path: str, _split: str, orientations: bool = True) -> list[Sample]:
        if orientations:
            raise DataError(f'{path} has no orientations')
        return samples

    samples = [sample.position_only() for sample in _samples()]
    samples[1] = replace(samples[1], load_image=cut_short)
    monkeypatch.setattr(frame_decoding, 'open_dataset', positions)
    config = DataConfig(path='made-up', positions_only=True)
    with pytest.raises(DataError, match=r'1 frames of 4 cannot be read so far.*cut short'):
        FrameCache(samples, 48, config, Console()).frames(on_disk=False)
