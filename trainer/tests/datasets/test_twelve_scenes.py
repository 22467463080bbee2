"""The 12-Scenes reader: a small room as its authors distribute it, and every way to spoil it."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, open_dataset

# At (1, 2, 3), looking along the world's x axis, with z up: camera-to-world.
POSE = '0 0 1 1\n-1 0 0 2\n0 -1 0 3\n0 0 0 1\n'
IDENTITY = '1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1'
INFO = f"""m_versionNumber = 4
m_sensorName = StructureSensor
m_colorWidth = 1296
m_colorHeight = 968
m_depthWidth = 640
m_depthHeight = 480
m_depthShift = 1000
m_calibrationColorIntrinsic = 1158.3 0 649 0 0 1153.53 483.5 0 0 0 1 0 0 0 0 1
m_calibrationColorExtrinsic = {IDENTITY}
m_calibrationDepthIntrinsic = 572 0 320 0 0 572 240 0 0 0 1 0 0 0 0 1
m_calibrationDepthExtrinsic = {IDENTITY}
"""
SPLIT = 'sequence0 [frames=1]  [start=0 ; end=0]\nsequence1 [frames=3]  [start=1 ; end=3]\n'


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """One frame for testing; three for training, of which the last lost its tracking."""
    (tmp_path / 'data').mkdir()
    for frame in range(4):
        stem = tmp_path / 'data' / f'frame-{frame:06d}'
        cv2.imwrite(f'{stem}.color.jpg', np.full((968, 1296, 3), 90, np.uint8))
        cv2.imwrite(f'{stem}.depth.png', np.full((480, 640), 2500, np.uint16))
        lost = 'inf inf inf inf\n' * 3 + 'nan nan nan nan\n'
        Path(f'{stem}.pose.txt').write_text(lost if frame == 3 else POSE)
    (tmp_path / 'info.txt').write_text(INFO)
    (tmp_path / 'split.txt').write_text(SPLIT)
    return tmp_path


def test_a_room_is_read_as_its_authors_mean_it(
    room: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train = open_dataset(room, 'train')
    assert '1 train frames without a pose' in caplog.text
    assert [sample.name for sample in train] == ['frame-000001', 'frame-000002']
    assert [sample.name for sample in open_dataset(room, 'test')] == ['frame-000000']
    sample = train[0]
    assert sample.load_image().shape == (968, 1296, 3)
    assert sample.timestamp == pytest.approx(1 / 30)
    # Two metres ahead; half a metre to the right of it, which is the world's -y.
    world = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1]], np.float64)
    points = (np.linalg.inv(sample.world_from_camera) @ world.T).T[:, :3]
    np.testing.assert_allclose(
        sample.camera.project(points), [(649, 483.5), (649 + 1158.3 / 4, 483.5)]
    )


def test_depth_is_offered_where_the_files_say_that_it_is_registered(room: Path) -> None:
    sample = open_dataset(room, 'train')[0]
    assert sample.load_depth is not None
    depth = sample.load_depth()
    assert depth.shape == (480, 640)
    np.testing.assert_allclose(depth, 2.5)
    shifted = IDENTITY.replace('0', '0.05', 1)
    info = INFO.replace(f'DepthExtrinsic = {IDENTITY}', f'DepthExtrinsic = {shifted}')
    (room / 'info.txt').write_text(info)
    assert open_dataset(room, 'train')[0].load_depth is None


@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('split.txt', 'sequence0 [frames=1]\n', r'split\.txt:1: expected "sequence0'),
        ('split.txt', SPLIT.replace('frames=3', 'frames=4'), r'split\.txt:2: .*not 4 frames'),
        ('split.txt', SPLIT.splitlines()[0], 'has no frames'),
        ('split.txt', SPLIT.replace('=3', '=4'), r'split\.txt:2: .*frame-000004\.color\.jpg'),
        ('info.txt', 'nonsense\n', r'info\.txt:1: expected "key = value"'),
        ('info.txt', 'm_colorWidth = 1296\n', 'lacks m_calibrationColorIntrinsic'),
        ('info.txt', INFO.replace('1158.3', 'x'), r"info\.txt:8: 'x' is not a number"),
        ('info.txt', INFO.replace('1158.3', '0'), r'info\.txt:8: .*not calibrated'),
        ('info.txt', INFO.replace('1158.3', '1158.3 7'), r'info\.txt:8: .*found 17'),
        ('info.txt', INFO.replace('1296', '1280'), r'1296x968 pixels, the camera 1280x968'),
        ('data/frame-000002.pose.txt', POSE.replace('-1 0', '-3 0', 1), 'not a rotation'),
        ('data/frame-000002.pose.txt', POSE.replace('0 0 1 1', '0 0 1'), r'pose\.txt:1: '),
    ],
)
def test_malformed_files_are_named(room: Path, file: str, content: str, message: str) -> None:
    (room / file).write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset(room, 'train')


@pytest.mark.parametrize('file', ['info.txt', 'split.txt', 'data/frame-000002.pose.txt'])
def test_missing_files_are_named(room: Path, file: str) -> None:
    (room / file).unlink()
    with pytest.raises(DataError, match=f'cannot read .*{Path(file).name}'):
        open_dataset(room, 'train')
