"""The COLMAP reader: models in COLMAP's own text format, read by pycolmap."""

import math
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from implicit_loc_trainer.datasets import DataError, open_dataset

# At (1, 2, 3), looking along the world's x axis, z up: w x y z and translation, world-to-camera.
POSE = '0.5 0.5 -0.5 0.5 2 3 -1'
CAMERAS = """# Camera list with one line of data per camera:
1 PINHOLE 64 48 50 51 32 24
2 SIMPLE_RADIAL 64 48 50 32 24 0.1
"""
IMAGES = f"""# Image list with two lines of data per image:
1 {POSE} 1 a/0.jpg
10.5 20.5 -1
2 {POSE} 2 b/1.jpg

"""

needs_pycolmap = pytest.mark.skipif(
    find_spec('pycolmap') is None,
    reason='pycolmap is not installed (optional extra colmap)',
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two images in sparse/0, beside images/."""
    model = tmp_path / 'sparse' / '0'
    model.mkdir(parents=True)
    for name in ('a/0.jpg', 'b/1.jpg'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'images' / name), np.zeros((48, 64, 3), np.uint8))
    (model / 'cameras.txt').write_text(CAMERAS)
    (model / 'images.txt').write_text(IMAGES)
    (model / 'points3D.txt').write_text('')
    (tmp_path / 'test.txt').write_text('b/1.jpg\n')
    return tmp_path


def make_binary(model: Path) -> None:
    import pycolmap

    pycolmap.Reconstruction(str(model)).write_binary(str(model))
    for file in model.glob('*.txt'):
        file.unlink()


@needs_pycolmap
@pytest.mark.parametrize('model', ['', 'sparse/0'])
def test_a_model_is_read_as_colmap_means_it(folder: Path, model: str) -> None:
    (train,) = open_dataset(folder / model, 'train')
    (test,) = open_dataset(folder / model, 'test')
    assert (train.name, test.name) == ('a/0.jpg', 'b/1.jpg')
    assert train.load_image().shape == (48, 64, 3)
    # Two metres ahead; half a metre to the right of it, which is the world's -y; and below.
    world = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1], [3, 2, 2.5, 1]], np.float64)
    points = (np.linalg.inv(train.world_from_camera) @ world.T).T[:, :3]
    expected = [(31.5, 23.5), (31.5 + 50 / 4, 23.5), (31.5, 23.5 + 51 / 4)]
    np.testing.assert_allclose(train.camera.project(points), expected)
    assert test.camera.distortion_model == 'plumb_bob'
    assert test.camera.distortion == (0.1, 0, 0, 0)


@needs_pycolmap
def test_a_binary_model_is_the_same(folder: Path) -> None:
    (text,) = open_dataset(folder, 'train')
    make_binary(folder / 'sparse' / '0')
    (binary,) = open_dataset(folder, 'train')
    assert binary.camera == text.camera
    np.testing.assert_allclose(binary.world_from_camera, text.world_from_camera)


@needs_pycolmap
@pytest.mark.parametrize(
    'camera',
    [
        'SIMPLE_PINHOLE 64 48 50 32 24',
        'PINHOLE 64 48 50 51 32 24',
        'SIMPLE_RADIAL 64 48 50 32 24 0.1',
        'RADIAL 64 48 50 32 24 0.1 0.01',
        'OPENCV 64 48 50 51 32 24 0.1 0.01 0.001 0.002',
        'FULL_OPENCV 64 48 50 51 32 24 0.1 0.01 0.001 0.002 0.003 0.004 0.005 0.006',
        'OPENCV_FISHEYE 64 48 50 51 32 24 0.1 0.01 0.001 0.0001',
    ],
)
def test_every_camera_model_projects_as_in_colmap(folder: Path, camera: str) -> None:
    import pycolmap

    (folder / 'sparse' / '0' / 'cameras.txt').write_text(f'1 {camera}\n2 {camera}\n')
    (sample,) = open_dataset(folder, 'train')
    points = np.array([[0.1, -0.2, 1.0], [0.3, 0.25, 1.0], [0.0, 0.0, 2.0]])
    theirs = pycolmap.Reconstruction(str(folder / 'sparse' / '0')).cameras[1]
    expected = np.asarray(theirs.img_from_cam(points)).reshape(-1, 2) - 0.5
    np.testing.assert_allclose(sample.camera.project(points), expected, atol=1e-6)


@needs_pycolmap
def test_the_split_without_a_test_list(folder: Path) -> None:
    (folder / 'test.txt').unlink()
    (folder / 'train.txt').write_text('b/1.jpg\n')
    assert [sample.name for sample in open_dataset(folder, 'test')] == ['a/0.jpg']
    (folder / 'train.txt').write_text('b/1.jpg\nb/7.jpg\n')
    with pytest.raises(DataError, match=r'train\.txt:2: .*b/7\.jpg'):
        open_dataset(folder, 'train')
    (folder / 'train.txt').write_text('')
    with pytest.raises(DataError, match='has no frames'):
        open_dataset(folder, 'train')


@needs_pycolmap
@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('cameras.txt', '1 PINHOLE 64\n', r'cameras\.txt:1: .*found 3'),
        ('cameras.txt', '1 FOV 64 48 50 50 32 24 1\n', r'cameras\.txt:1: .*FOV is not known'),
        ('cameras.txt', '1 PINHOLE 64 48 x 51 32 24\n', r"cameras\.txt:1: 'x' is not"),
        ('cameras.txt', '1 PINHOLE 64 48 50 51 32\n', 'cannot read the model'),
        ('cameras.txt', CAMERAS.replace('64 48 50 51', '64 48 0 51'), 'not calibrated'),
        ('images.txt', f'1 {POSE} 1\n\n', r'images\.txt:1: .*found 9'),
        ('images.txt', IMAGES.replace('2 3 -1 2', '2 3 x 2'), r"images\.txt:4: 'x' is not"),
        ('images.txt', IMAGES.replace('2 3 -1 2', '2 nan 1 2'), r'images\.txt:4: .*not finite'),
        ('images.txt', IMAGES.replace('2 0.5', '2 0.9'), r'images\.txt:4: .*not a rotation'),
        ('images.txt', IMAGES.replace('-1 2 b', '-1 9 b'), 'cannot read the model'),
        ('images.txt', IMAGES.replace('b/1.jpg', 'b/9.jpg'), r'b/9\.jpg: the frame has no image'),
    ],
)
def test_malformed_models_are_named(folder: Path, file: str, content: str, message: str) -> None:
    (folder / 'sparse' / '0' / file).write_text(content)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, 'train')


@needs_pycolmap
@pytest.mark.parametrize(
    ('file', 'kept'), [('images', 0), ('images', 20), ('images', 60), ('cameras', 12)]
)
def test_a_binary_model_that_is_cut_off_is_one_clear_error(
    folder: Path, file: str, kept: int
) -> None:
    make_binary(folder / 'sparse' / '0')
    path = folder / 'sparse' / '0' / f'{file}.bin'
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r'its \.bin files are damaged.*export it again'):
        open_dataset(folder, 'train')


@needs_pycolmap
def test_a_binary_model_with_a_damaged_name(folder: Path) -> None:
    make_binary(folder / 'sparse' / '0')
    path = folder / 'sparse' / '0' / 'images.bin'
    path.write_bytes(path.read_bytes().replace(b'a/0.jpg', b'a/\xff.jpg'))
    with pytest.raises(DataError, match=r'its \.bin files are damaged'):
        open_dataset(folder, 'train')


@needs_pycolmap
@pytest.mark.parametrize(
    ('w', 'message'), [(2.0, r'a/0\.jpg: .*not a rotation'), (math.nan, r'a/0\.jpg: .*not finite')]
)
def test_a_binary_model_with_a_quaternion_that_is_none(
    folder: Path, w: float, message: str
) -> None:
    make_binary(folder / 'sparse' / '0')
    # The poses of all cameras, or those of rigs where pycolmap writes these too; w comes first.
    good, bad = struct.pack('<2d', 0.5, 0.5), struct.pack('<2d', w, 0.5)
    for path in (folder / 'sparse' / '0').glob('[if]*s.bin'):
        path.write_bytes(path.read_bytes().replace(good, bad, 1))
    with pytest.raises(DataError, match=message):
        open_dataset(folder, 'train')


@needs_pycolmap
def test_missing_files_and_images_of_another_size(folder: Path) -> None:
    cv2.imwrite(str(folder / 'images' / 'a' / '0.jpg'), np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r'0\.jpg has 32x24 pixels, the camera 64x48'):
        open_dataset(folder, 'train')
    (folder / 'sparse' / '0' / 'points3D.txt').unlink()
    with pytest.raises(DataError, match=r'lacks points3D\.txt'):
        open_dataset(folder, 'train')
    (folder / 'images').rename(folder / 'pictures')
    with pytest.raises(DataError, match='the folder images is not beside the model'):
        open_dataset(folder, 'train')


def test_without_pycolmap_the_error_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'pycolmap', None)
    with pytest.raises(DataError, match=r'pip install .*\[colmap\]'):
        open_dataset(folder, 'train')
