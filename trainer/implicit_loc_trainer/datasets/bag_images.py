"""Images of ROS messages as arrays."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.bag_reader import MessageKey, read_message
from implicit_loc_trainer.datasets.images import SIGNATURES, check_size, decode_colour
from implicit_loc_trainer.datasets.sample import DataError

RAW = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'

# Channels of eight bits, and OpenCV's conversion to RGB (None: it is RGB). OpenCV names a Bayer
# pattern by its second row's second and third pixel, ROS by its first four.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    'rgb8': (3, None),
    'bgr8': (3, cv2.COLOR_BGR2RGB),
    'rgba8': (4, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, cv2.COLOR_BGRA2RGB),
    'mono8': (1, cv2.COLOR_GRAY2RGB),
    'bayer_rggb8': (1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, cv2.COLOR_BayerGB2RGB),
}

# Type of the values and how many make a metre.
_DEPTH_ENCODINGS: dict[str, tuple[str, float]] = {
    '16UC1': ('u2', 1000.0),
    'mono16': ('u2', 1000.0),
    '32FC1': ('f4', 1.0),
}


def load_bag_image(key: MessageKey, camera: Camera) -> NDArray[np.uint8]:
    """The image of a message, (height, width, 3) RGB.

    Raises:
        DataError: the message is not there, damaged, of an unknown encoding or another size.
    """
    place = f'{key.bag}: {key.topic} at {key.received_ns} ns'
    image = decode_image(place, read_message(key))
    check_size(place, (image.shape[1], image.shape[0]), camera)
    return image


def load_bag_depth(key: MessageKey) -> NDArray[np.float32]:
    """The depth of a message, (H, W) metres, 0 = unknown.

    Raises:
        DataError: the message is not there, damaged, or of an unknown encoding.
    """
    place = f'{key.bag}: {key.topic} at {key.received_ns} ns'
    message = read_message(key)
    if message.encoding not in _DEPTH_ENCODINGS:
        raise DataError(
            f'{place}: depth has the encoding {message.encoding!r}; '
            f'known are {", ".join(_DEPTH_ENCODINGS)}'
        )
    kind, units_per_metre = _DEPTH_ENCODINGS[message.encoding]
    values = _pixels(place, message, 1, kind)[..., 0]
    metres = values.astype(np.float32) / np.float32(units_per_metre)
    return np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0)


def decode_image(place: str, message: Any) -> NDArray[np.uint8]:
    """An Image or CompressedImage as (height, width, 3) RGB.

    Raises:
        DataError: an unknown encoding, or data that contradicts it.
    """
    if hasattr(message, 'format'):
        return _decode_compressed(place, message)
    if message.encoding not in _ENCODINGS:
        raise DataError(
            f'{place}: the image has the encoding {message.encoding!r}; '
            f'known are {", ".join(_ENCODINGS)}'
        )
    channels, to_rgb = _ENCODINGS[message.encoding]
    pixels = np.ascontiguousarray(_pixels(place, message, channels, 'u1'), dtype=np.uint8)
    if to_rgb is None:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, to_rgb), dtype=np.uint8)


def _pixels(place: str, message: Any, channels: int, kind: str) -> NDArray[Any]:
    """(height, width, channels); rows may be longer than their pixels."""
    dtype = np.dtype(f'{">" if message.is_bigendian else "<"}{kind}')
    pixel_bytes = channels * dtype.itemsize
    width, height, step = message.width, message.height, message.step
    if step < width * pixel_bytes or len(message.data) < height * step or not width * height:
        raise DataError(
            f'{place}: {len(message.data)} bytes in rows of {step} are no {message.encoding} '
            f'image of {width}x{height} pixels'
        )
    return np.ndarray(
        (height, width, channels),
        dtype,
        np.ascontiguousarray(message.data, dtype=np.uint8).data,
        strides=(step, pixel_bytes, dtype.itemsize),
    )


def _decode_compressed(place: str, message: Any) -> NDArray[np.uint8]:
    data = bytes(message.data)
    if not data.startswith(SIGNATURES):
        raise DataError(
            f'{place}: the compressed image (format {message.format!r}, {len(data)} bytes) is '
            'neither JPEG nor PNG'
        )
    return decode_colour(f'{place}: the compressed image', data)
