"""Images of ROS messages: encodings, padding, and data that is no image."""

from typing import Any

import numpy as np
import pytest
from bag_messages import START_NS, compressed, header, make

from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.datasets.bag_images import decode_image


def raw_image(encoding: str, width: int, rows: np.ndarray) -> Any:
    """An Image with these bytes."""
    return make(
        'sensor_msgs/Image',
        header=header(0, ''),
        height=len(rows),
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.reshape(-1),
    )


@pytest.mark.parametrize(
    ('encoding', 'pixel', 'expected'),
    [
        ('rgb8', (10, 20, 30), (10, 20, 30)),
        ('bgr8', (10, 20, 30), (30, 20, 10)),
        ('rgba8', (10, 20, 30, 40), (10, 20, 30)),
        ('bgra8', (10, 20, 30, 40), (30, 20, 10)),
        ('mono8', (50,), (50, 50, 50)),
    ],
)
def test_encodings_with_padded_rows(
    encoding: str, pixel: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    rows = np.full((4, 6 * len(pixel) + 5), 255, np.uint8)
    rows[:, : 6 * len(pixel)] = np.tile(pixel, 6)
    message = raw_image(encoding, 6, rows)
    decoded = decode_image('here', message)
    assert decoded.shape == (4, 6, 3)
    assert (decoded == expected).all()
    message.data = rows.reshape(-1)[:-10]
    with pytest.raises(DataError, match=r'here: .*bytes in rows'):
        decode_image('here', message)


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_give_their_colours(pattern: str) -> None:
    colours = {'r': 200, 'g': 100, 'b': 50}
    tile = np.array([colours[letter] for letter in pattern], np.uint8).reshape(2, 2)
    rows = np.tile(tile, (4, 4))
    message = raw_image(f'bayer_{pattern}8', 8, rows)
    assert (decode_image('here', message)[2:-2, 2:-2] == (200, 100, 50)).all()


def test_compressed_images_that_are_none() -> None:
    _, _, _, message = compressed(START_NS)
    message.data = message.data[:40]
    with pytest.raises(DataError, match=r'here: .*truncated after 40 bytes'):
        decode_image('here', message)
    message.data = np.zeros(10, np.uint8)
    with pytest.raises(DataError, match=r'here: .*neither JPEG nor PNG'):
        decode_image('here', message)


def test_a_thumbnail_does_not_end_a_compressed_image() -> None:
    _, _, _, message = compressed(START_NS, '.jpg', value=200)
    picture = bytes(message.data)
    thumbnail = b'Exif\0\0' + picture
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    message.data = np.frombuffer(picture[:2] + segment + picture[2:], np.uint8)
    assert decode_image('here', message)[0, 0, 0] == pytest.approx(200, abs=5)
    message.data = message.data[: -len(picture) // 4]
    with pytest.raises(DataError, match=r'here: .*truncated'):
        decode_image('here', message)
