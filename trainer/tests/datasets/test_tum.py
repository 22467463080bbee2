"""Folders in TUM RGB-D style: images, a trajectory, a camera file; and every way to spoil them."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, open_dataset

# Camera-to-world: looking along the world's x axis, z up.
TURN = '-0.5 0.5 -0.5 0.5'
CAMERA = """image_width: 64
image_height: 48
camera_name: front
camera_matrix:
  rows: 3
  cols: 3
  data: [50.0, 0.0, 31.0, 0.0, 51.0, 23.0, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.0, 0.0, 0.0, 0.0, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images from 100.0 s on, 0.1 s apart; poses between them, at 1 m/s along y."""
    for kind in ('rgb', 'depth'):
        (tmp_path / kind).mkdir()
    stamps = [100 + frame / 10 for frame in range(10)]
    for stamp in stamps:
        image = np.zeros((48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / 'rgb' / f'{stamp:.6f}.png'), image)
    cv2.imwrite(str(tmp_path / 'depth' / 'first.png'), np.full((48, 64), 10000, np.uint16))
    lines = [f'{stamp:.6f} rgb/{stamp:.6f}.png' for stamp in stamps]
    (tmp_path / 'rgb.txt').write_text('# color images\n' + '\n'.join(lines))
    (tmp_path / 'depth.txt').write_text('100.015 depth/first.png\n')
    poses = [f'{99.95 + 0.1 * i:.4f} 1 {2 + 0.1 * i - 0.05:.4f} 3 {TURN}' for i in range(11)]
    (tmp_path / 'groundtruth.txt').write_text('# ground truth\n' + '\n'.join(poses))
    (tmp_path / 'camera.yaml').write_text(CAMERA)
    return tmp_path


def test_a_folder_is_read_with_poses_between_measurements(folder: Path) -> None:
    train, test = open_dataset(folder, 'train'), open_dataset(folder, 'test')
    assert [sample.name for sample in test] == ['rgb/100.400000.png', 'rgb/100.900000.png']
    assert len(train) == 8
    first = train[0]
    assert first.timestamp == 0
    assert train[1].timestamp == pytest.approx(0.1)
    # Two metres ahead; half a metre to the right of it, which is the world's -y; and below.
    world = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1], [3, 2, 2.5, 1]], np.float64)
    points = (np.linalg.inv(first.world_from_camera) @ world.T).T[:, :3]
    expected = [(31, 23), (31 + 50 / 4, 23), (31, 23 + 51 / 4)]
    np.testing.assert_allclose(first.camera.project(points), expected, atol=1e-6)
    assert first.load_depth is not None
    np.testing.assert_allclose(first.load_depth(), 2.0)
    assert train[1].load_depth is None
    assert first.load_image().shape == (48, 64, 3)


def test_rotations_are_interpolated_along_the_great_arc(folder: Path) -> None:
    (folder / 'rgb.txt').write_text('100.0 rgb/100.000000.png\n')
    (folder / 'groundtruth.txt').write_text(
        '99.9 0 0 0 0 0 0 1\n100.1 2 0 0 0 0 0.7071068 -0.7071068\n'
    )
    (folder / 'train.txt').write_text('rgb/100.000000.png\n')
    (sample,) = open_dataset(folder, 'train')
    half = np.sqrt(0.5)
    np.testing.assert_allclose(sample.world_from_camera[:3, 0], (half, -half, 0), atol=1e-6)
    np.testing.assert_allclose(sample.world_from_camera[:3, 3], (1, 0, 0), atol=1e-9)


def test_images_in_a_wide_gap_are_left_out_and_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    poses = [f'{stamp} 0 0 0 0 0 0 1' for stamp in ('100.0', '100.5', '100.65', '100.9')]
    (folder / 'groundtruth.txt').write_text('\n'.join(poses))
    (folder / 'test.txt').write_text('rgb/100.900000.png\n')
    with caplog.at_level(logging.WARNING):
        names = [sample.name for sample in open_dataset(folder, 'train')]
    # A pose at the very time of an image counts, however far the next one is.
    assert names == [f'rgb/{stamp}00000.png' for stamp in ('100.0', '100.5', '100.6')]
    assert '6 of 10 images have no pose' in caplog.text


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('groundtruth.txt', '1 0 0 0 0 0 1', r'groundtruth\.txt:1: .*found 7 values'),
        ('groundtruth.txt', '# c\n1 0 0 x 0 0 0 1', r"groundtruth\.txt:2: 'x' is not a number"),
        ('groundtruth.txt', '1 0 0 nan 0 0 0 1', r'groundtruth\.txt:1: .*not finite'),
        ('groundtruth.txt', '1 0 0 0 0 0 0 0.5', r'groundtruth\.txt:1: .*not a rotation'),
        ('groundtruth.txt', '', r'groundtruth\.txt has no poses'),
        (
            'groundtruth.txt',
            '1 0 0 0 0 0 0 1',
            r'images are from 100\.000 to .* poses from 1\.000',
        ),
        ('rgb.txt', '100.0 a b', r'rgb\.txt:1: .*found 3 values'),
        ('rgb.txt', 'x rgb/a.png', r"rgb\.txt:1: 'x' is not a number"),
        ('rgb.txt', '100.0 rgb/a.png', r'rgb\.txt:1: the frame has no image'),
        ('rgb.txt', '# nothing', r'rgb\.txt names no image'),
        ('rgb.txt', '100 a.png\n101 a.png', r'rgb\.txt:2: a\.png is named twice'),
        ('train.txt', '\n', 'has no frames'),
        ('train.txt', 'rgb/9.png\n', r'train\.txt:1: .*rgb/9\.png'),
        ('depth.txt', '100.0 depth/none.png\n', r'depth\.txt:1: there is no depth image'),
        ('camera.yaml', 'image_width: [', r'camera\.yaml:\d+: '),
        ('camera.yaml', '- 1\n', 'must hold'),
        ('camera.yaml', CAMERA.replace('64', 'wide'), r"image_width .* found 'wide'"),
        ('camera.yaml', CAMERA.replace('camera_matrix', 'matrix'), 'camera_matrix must hold'),
        ('camera.yaml', CAMERA.replace('50.0, 0.0', '50.0'), 'has 9 values, found 8'),
        ('camera.yaml', CAMERA.replace('50.0', '.nan'), 'not finite'),
        ('camera.yaml', CAMERA.replace('50.0', '0.0'), 'not calibrated'),
        (
            'camera.yaml',
            CAMERA.replace('plumb_bob', 'magic').replace('[0.0, 0.0, 0', '[0.1, 0.0, 0'),
            "'magic' is not known",
        ),
        ('camera.yaml', CAMERA.replace('48', '50'), r'64x48 pixels, the camera 64x50'),
    ],
)
def test_malformed_files_are_named(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, 'train')


@pytest.mark.parametrize('file', ['groundtruth.txt', 'camera.yaml'])
def test_missing_files_are_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(DataError, match=f'cannot read .*{file}'):
        open_dataset(folder, 'train')


def test_fisheye_coefficients_are_kept_even_if_zero(folder: Path) -> None:
    text = CAMERA.replace('plumb_bob', 'fisheye')
    (folder / 'camera.yaml').write_text(text)
    camera = open_dataset(folder, 'train')[0].camera
    assert (camera.distortion_model, camera.distortion) == ('equidistant', (0, 0, 0, 0))


def test_lines_of_four_numbers_are_positions(folder: Path) -> None:
    """They are interpolated as poses are, and only who asks for them gets them."""
    lines = [f'{99.95 + 0.1 * i:.4f} 1 {2 + 0.1 * i - 0.05:.4f} 3' for i in range(11)]
    (folder / 'groundtruth.txt').write_text('# positions\n' + '\n'.join(lines))
    samples = open_dataset(folder, 'train', orientations=False)
    assert len(samples) == 8
    assert not any(sample.has_orientation for sample in samples)
    np.testing.assert_allclose(samples[1].world_from_camera[:3, 3], [1, 2.1, 3], atol=1e-9)
    with pytest.raises(DataError, match='8 of 8 frames only the position is known'):
        open_dataset(folder, 'train')


def test_positions_and_poses_in_one_file_are_refused(folder: Path) -> None:
    lines = ['99.9 1 2 3', f'101.0 1 2 3 {TURN}']
    (folder / 'groundtruth.txt').write_text('\n'.join(lines))
    with pytest.raises(DataError, match=r'groundtruth.txt:1: .*found 4 values'):
        open_dataset(folder, 'train', orientations=False)
    (folder / 'groundtruth.txt').write_text('99.9 1 2 nan\n101.0 1 2 3')
    with pytest.raises(DataError, match=r'groundtruth.txt:1'):
        open_dataset(folder, 'train', orientations=False)
