"""The redkitchen reader: a good folder, and every way to spoil one."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, open_dataset

REAL = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'redkitchen'

POSES = """# frame tx ty tz qx qy qz qw
000000 1 2 3 0 0 0 1
000001 1 2 4 0 0.7071068 0 0.7071068
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two frames, one for each split."""
    (tmp_path / 'rgb').mkdir()
    (tmp_path / 'depth').mkdir()
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 2] = 200  # OpenCV writes BGR: this is red
    for name in ('000000', '000001'):
        cv2.imwrite(str(tmp_path / 'rgb' / f'frame-{name}.jpg'), image)
    depth = np.full((120, 160), 1500, np.uint16)
    cv2.imwrite(str(tmp_path / 'depth' / 'frame-000000.png'), depth)
    (tmp_path / 'poses_sfm.txt').write_text(POSES)
    (tmp_path / 'train.txt').write_text('000000\n\n')
    (tmp_path / 'test.txt').write_text('000001\n')
    return tmp_path


def test_frames_have_image_pose_camera_and_depth(folder: Path) -> None:
    (sample,) = open_dataset(folder, 'train')
    assert sample.name == '000000'
    assert sample.load_image()[0, 0, 0] == pytest.approx(200, abs=5)
    assert sample.load_depth is not None
    np.testing.assert_allclose(sample.load_depth(), 1.5)
    np.testing.assert_allclose(sample.world_from_camera[:3, 3], (1, 2, 3))
    assert (sample.camera.cx, sample.camera.cy) == (319.5, 239.5)
    (turned,) = open_dataset(folder, 'test')
    np.testing.assert_allclose(turned.world_from_camera[:3, 2], (1, 0, 0), atol=1e-6)
    assert turned.load_depth is None


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('000000 1 2 3 0 0 0', r'poses_sfm\.txt:2: .*found 6 numbers'),
        ('000000 1 2 3 0 0 0 x', r'poses_sfm\.txt:2: .*x'),
        ('000000 1 2 nan 0 0 0 1', r'poses_sfm\.txt:2: .*not finite'),
        ('000000 1 2 3 0 0 0 0.5', r'poses_sfm\.txt:2: .*not a rotation'),
        ('frame-0 1 2 3 0 0 0 1', r'poses_sfm\.txt:2: .*a number such as 000600'),
        ('000001 1 2 3 0 0 0 1', r'poses_sfm\.txt:3: .*already has a pose'),
        ('000009 1 2 3 0 0 0 1', r'train\.txt:1: .*no pose for the frame'),
    ],
)
def test_a_malformed_pose_names_file_and_line(folder: Path, line: str, message: str) -> None:
    lines = POSES.splitlines()
    lines[1] = line
    (folder / 'poses_sfm.txt').write_text('\n'.join(lines))
    with pytest.raises(DataError, match=message):
        open_dataset(folder, 'train')


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        ('000000\nframe-000001\n', r'train\.txt:2: a frame is a number such as 000600'),
        ('000000\n000001\n000000\n', r"train\.txt:3: the frame '000000' is named twice"),
    ],
)
def test_a_malformed_list_names_file_and_line(folder: Path, frames: str, message: str) -> None:
    (folder / 'train.txt').write_text(frames)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, 'train')


def test_a_frame_without_its_image_names_file_and_line(folder: Path) -> None:
    (folder / 'rgb' / 'frame-000000.jpg').unlink()
    with pytest.raises(DataError, match=r'train\.txt:1: the frame has no image .*000000\.jpg'):
        open_dataset(folder, 'train')


def test_an_unreadable_image_is_named_with_its_list(folder: Path) -> None:
    path = folder / 'rgb' / 'frame-000000.jpg'
    half = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(half)
    (sample,) = open_dataset(folder, 'train')
    with pytest.raises(DataError, match=r'train\.txt:1: .*frame-000000\.jpg is truncated'):
        sample.load_image()
    path.unlink()
    with pytest.raises(DataError, match=r'train\.txt:1: .*frame-000000\.jpg cannot be read'):
        sample.load_image()
    cv2.imwrite(str(path), np.zeros((10, 20, 3), np.uint8))
    for load in (sample.load_image, lambda: open_dataset(folder, 'train')):
        with pytest.raises(DataError, match=r'train\.txt:1: .*20x10 pixels, the camera 640x480'):
            load()


def test_splits_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    (folder / 'test.txt').write_text('# nothing\n')
    with pytest.raises(DataError, match='has no frames'):
        open_dataset(folder, 'test')
    with pytest.raises(DataError, match=r'cannot read .*missing'):
        open_dataset(folder, tmp_path / 'missing.txt')
    (folder / 'train.txt').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(DataError, match='cannot read'):
        open_dataset(folder, 'train')


def test_unknown_data_lists_the_formats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='demo-room, redkitchen'):
        open_dataset(tmp_path / 'nowhere')


@pytest.mark.skipif(not REAL.is_dir(), reason=f'the recording {REAL} is not there')
def test_the_real_recording() -> None:
    train, test = open_dataset(REAL, 'train'), open_dataset(REAL, 'test')
    assert (len(train), len(test)) == (550, 200)
    assert not {sample.name for sample in train} & {sample.name for sample in test}
    assert test[0].load_image().shape == (480, 640, 3)
