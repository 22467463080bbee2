"""The Cambridge Landmarks reader: a small scene as published, and every way to spoil it."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, open_dataset

HEADER = 'Visual Landmark Dataset V1\nImageFile, Camera Position [X Y Z W P Q R]\n\n'
# Centre (1, 2, 3), looking along the world's x axis, z up: w x y z turn the world to the camera.
POSE = '1 2 3 0.5 0.5 -0.5 0.5'
MODEL = """NVM_V3

2
seq1/frame00001.jpg\t1670.5 0.5 0.5 -0.5 0.5 1 2 3 -0.05 0
seq2/frame00001.jpg\t1665 0.5 0.5 -0.5 0.5 1 2 3 0 0

1
0.1 0.2 0.3 10 20 30 1 0 5 1.5 2.5
"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """One frame for each split."""
    for sequence, split in (('seq1', 'train'), ('seq2', 'test')):
        (tmp_path / sequence).mkdir()
        image = np.zeros((1080, 1920, 3), np.uint8)
        cv2.imwrite(str(tmp_path / sequence / 'frame00001.png'), image)
        lines = f'{HEADER}{sequence}/frame00001.png {POSE}\n'
        (tmp_path / f'dataset_{split}.txt').write_text(lines)
    (tmp_path / 'reconstruction.nvm').write_text(MODEL)
    return tmp_path


def test_a_scene_is_read_as_its_authors_mean_it(scene: Path) -> None:
    (train,) = open_dataset(scene, 'train')
    (test,) = open_dataset(scene, 'test')
    assert (train.name, test.name) == ('seq1/frame00001.png', 'seq2/frame00001.png')
    assert (train.camera.fx, test.camera.fx) == (1670.5, 1665.0)
    assert train.load_image().shape == (1080, 1920, 3)
    np.testing.assert_allclose(train.world_from_camera[:3, 3], (1, 2, 3))
    # Two metres ahead; half a metre to the right of it, which is the world's -y; and below.
    world = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1], [3, 2, 2.5, 1]], np.float64)
    points = (np.linalg.inv(train.world_from_camera) @ world.T).T[:, :3]
    expected = [(959.5, 539.5), (959.5 + 1670.5 / 4, 539.5), (959.5, 539.5 + 1670.5 / 4)]
    np.testing.assert_allclose(train.camera.project(points), expected)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('seq1/frame00001.png 1 2 3 0.5 0.5 -0.5', r'_train\.txt:4: .*found 7 values'),
        ('seq1/frame00001.png 1 2 3 0.5 0.5 -0.5 x', r"_train\.txt:4: 'x' is not a number"),
        ('seq1/frame00001.png 1 nan 3 0.5 0.5 -0.5 0.5', r'_train\.txt:4: .*not finite'),
        ('seq1/frame00001.png 1 2 3 0.5 0.5 -0.5 0.9', r'_train\.txt:4: .*not a rotation'),
        (f'seq1/frame00009.png {POSE}', r'_train\.txt:4: .*no focal length'),
        ('', 'has no frames'),
    ],
)
def test_a_malformed_pose_names_file_and_line(scene: Path, line: str, message: str) -> None:
    (scene / 'dataset_train.txt').write_text(f'{HEADER}{line}\n')
    with pytest.raises(DataError, match=message):
        open_dataset(scene, 'train')


@pytest.mark.parametrize(('header', 'line'), [('', 1), ('Visual Landmark Dataset V1\n', 2)])
def test_frames_are_not_taken_for_the_header(scene: Path, header: str, line: int) -> None:
    lines = ''.join(f'seq1/frame0000{number}.png {POSE}\n' for number in range(1, 6))
    (scene / 'dataset_train.txt').write_text(header + lines)
    with pytest.raises(DataError, match=rf'_train\.txt:{line}: a pose where .* header'):
        open_dataset(scene, 'train')


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (MODEL.replace('NVM_V3', 'ply'), 'begins with NVM_V3'),
        ('NVM_V3\n\n', 'number of cameras'),
        ('NVM_V3\n\n2\n', 'names 2 cameras, but lists 0'),
        (MODEL.replace('1670.5 0.5', '1670.5'), r'nvm:4: .*found 10'),
        (MODEL.replace('1670.5', 'x'), r"nvm:4: 'x' is not a number"),
        (MODEL.replace('1670.5', '-1'), r'nvm:4: .*focal length'),
    ],
)
def test_a_malformed_model_names_file_and_line(scene: Path, model: str, message: str) -> None:
    (scene / 'reconstruction.nvm').write_text(model)
    with pytest.raises(DataError, match=message):
        open_dataset(scene, 'train')


def test_missing_files_and_images_of_another_size(scene: Path) -> None:
    cv2.imwrite(str(scene / 'seq1' / 'frame00001.png'), np.zeros((480, 854, 3), np.uint8))
    with pytest.raises(DataError, match=r'frame00001\.png has 854x480 .*1920x1080'):
        open_dataset(scene, 'train')
    (scene / 'seq1' / 'frame00001.png').unlink()
    with pytest.raises(DataError, match=r'_train\.txt:4: .*no image'):
        open_dataset(scene, 'train')
    (scene / 'reconstruction.nvm').unlink()
    with pytest.raises(DataError, match=r'cannot read .*reconstruction\.nvm'):
        open_dataset(scene, 'train')
    (scene / 'dataset_test.txt').unlink()
    with pytest.raises(DataError, match='cannot read'):
        open_dataset(scene, 'test')
