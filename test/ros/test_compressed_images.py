"""JPEG and PNG messages -> images: what is whole is read, what is cut off is refused."""

import array

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from sensor_msgs.msg import CompressedImage

from implicit_loc.errors import ImageError
from implicit_loc_ros.conversions import image_from_compressed_message

WIDTH, HEIGHT = 32, 24


def smooth_image() -> np.ndarray:
    """RGB without fine detail, which JPEG would lose."""
    x, y = np.meshgrid(np.linspace(40, 200, WIDTH), np.linspace(60, 180, HEIGHT))
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


def compressed(extension: str, rgb: np.ndarray) -> CompressedImage:
    data = cv2.imencode(extension, rgb[..., ::-1])[1].tobytes()
    return CompressedImage(format=extension.strip('.'), data=data)


def test_png_is_lossless_and_jpeg_is_close() -> None:
    rgb = smooth_image()
    np.testing.assert_array_equal(image_from_compressed_message(compressed('.png', rgb)), rgb)
    jpeg = image_from_compressed_message(compressed('.jpg', rgb))
    np.testing.assert_allclose(jpeg.astype(int), rgb, atol=12)


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_a_truncated_compressed_image_is_refused(extension: str) -> None:
    message = compressed(extension, smooth_image())
    message.data = message.data[: len(message.data) * 2 // 3]
    with pytest.raises(ImageError, match='truncated'):
        image_from_compressed_message(message)


def with_exif(jpeg: bytes, content: bytes) -> bytes:
    segment = b'Exif\x00\x00' + content
    return jpeg[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + jpeg[2:]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image() -> None:
    rgb = smooth_image()
    thumbnail = bytes(compressed('.jpg', rgb[::4, ::4]).data)
    data = with_exif(bytes(compressed('.jpg', rgb).data), b'MM\x00*' + thumbnail)
    whole = image_from_compressed_message(CompressedImage(format='jpeg', data=data))
    assert whole.shape == rgb.shape
    truncated = data[:-40]
    assert b'\xff\xd9' in truncated
    with pytest.raises(ImageError, match='truncated'):
        image_from_compressed_message(CompressedImage(format='jpeg', data=truncated))


@pytest.mark.parametrize('missing', [1, 4, 8])
def test_a_png_without_its_last_bytes_is_refused(missing: int) -> None:
    message = compressed('.png', smooth_image())
    message.data = message.data[:-missing]
    with pytest.raises(ImageError, match='truncated'):
        image_from_compressed_message(message)


@pytest.mark.parametrize('extension', ['.png', '.jpg'])
def test_zeros_behind_a_compressed_image_are_padding(extension: str) -> None:
    message = compressed(extension, smooth_image())
    expected = image_from_compressed_message(message)
    message.data = bytes(message.data) + bytes(100)
    np.testing.assert_array_equal(image_from_compressed_message(message), expected)


@pytest.mark.parametrize('data', [b'', b'GIF89a', b'\x00' * 100])
def test_another_compressed_format_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match='neither JPEG nor PNG'):
        image_from_compressed_message(CompressedImage(format='16UC1; compressedDepth', data=data))


def test_a_damaged_png_is_refused() -> None:
    message = compressed('.png', smooth_image())
    message.data[20:60] = array.array('B', [255] * 40)
    with pytest.raises(ImageError, match=r'damaged|cannot be decoded'):
        image_from_compressed_message(message)


def test_a_jpeg_is_not_rotated_by_its_exif_data() -> None:
    message = compressed('.jpg', smooth_image())
    plain = image_from_compressed_message(message)
    # Orientation 6: to be shown turned by 90 degrees.
    tiff = b'MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00' + (
        b'\x00\x00\x00\x00'
    )
    turned = CompressedImage(format='jpeg', data=with_exif(bytes(message.data), tiff))
    np.testing.assert_array_equal(image_from_compressed_message(turned), plain)
