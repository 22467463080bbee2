"""Images in files: whole ones are read, truncated ones refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.datasets.images import load_depth, load_image, load_mask

CAMERA = Camera(width=64, height=48, fx=50.0, fy=50.0, cx=31.5, cy=23.5)

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def encoded(suffix: str, pixels: np.ndarray = PICTURE) -> bytes:
    """The bytes of an image file."""
    return bytes(cv2.imencode(suffix, pixels)[1])


def with_thumbnail(picture: bytes) -> bytes:
    """A JPEG whose header holds another one, as cameras write it."""
    thumbnail = b'Exif\0\0' + encoded('.jpg', PICTURE[:8, :8])
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    return picture[:2] + segment + picture[2:]


def refuse(data: bytes, file: Path, message: str) -> None:
    """Asserts that these bytes are no image."""
    file.write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        load_image('rgb.txt:7', file, CAMERA)
    assert str(raised.value).startswith(f'rgb.txt:7: the image {file} ')


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.bmp'])
def test_a_whole_image_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f'image{suffix}'
    file.write_bytes(encoded(suffix))
    expected = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(load_image('rgb.txt:7', file, CAMERA), expected)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_an_image_cut_to_half_is_refused(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix)
    refuse(data[: len(data) // 2], tmp_path / f'image{suffix}', 'is truncated after')


def test_a_thumbnail_does_not_end_an_image(tmp_path: Path) -> None:
    file = tmp_path / 'image.jpg'
    data = with_thumbnail(encoded('.jpg'))
    file.write_bytes(data)
    assert load_image('rgb.txt:7', file, CAMERA).shape == (48, 64, 3)
    refuse(data[:-200], file, 'is truncated after')


def test_zeros_after_the_end_are_padding_but_not_in_its_place(tmp_path: Path) -> None:
    file = tmp_path / 'image.jpg'
    data = encoded('.jpg')
    file.write_bytes(data + bytes(100))
    assert load_image('rgb.txt:7', file, CAMERA).shape == (48, 64, 3)
    # What a copy leaves that reserved the space and broke off.
    refuse(data[:-200] + bytes(200), file, 'is truncated after')


@pytest.mark.parametrize('data', [b'', b'no image', b'\xff\xd8\xff\xd9', encoded('.bmp')[:20]])
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    refuse(data, tmp_path / 'image.jpg', 'cannot be decoded')


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    refuse(encoded('.png', PICTURE[:10, :20]), tmp_path / 'image.png', 'has 20x10 pixels')


@pytest.mark.parametrize(
    ('load', 'pixels'),
    [
        (load_depth, PICTURE[..., 0].astype(np.uint16) * 200),
        (lambda file: load_mask(file, CAMERA), PICTURE),
    ],
    ids=['depth', 'mask'],
)
def test_truncated_depth_and_masks_are_refused(
    tmp_path: Path, load: Callable[[Path], Any], pixels: np.ndarray
) -> None:
    file = tmp_path / 'extra.png'
    data = encoded('.png', pixels)
    file.write_bytes(data)
    assert load(file).shape == (48, 64)
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r'extra\.png is truncated'):
        load(file)
