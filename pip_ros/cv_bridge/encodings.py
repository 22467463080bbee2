"""Image encodings of sensor_msgs: their layout in memory and how one becomes another."""

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


class CvBridgeError(TypeError):
    """An image message that contradicts itself, or a conversion that does not exist."""


@dataclass(frozen=True)
class Encoding:
    """Layout of one pixel, and the OpenCV conversions that lead to other families.

    Attributes:
        dtype: native byte order.
        channels: numbers per pixel.
        family: 'bgr', 'rgb', 'bgra', 'rgba', 'mono', or '' for numbers without colour.
        to_bgr: OpenCV's code to BGR, None where `family` says it all.
        to_mono: OpenCV's code to grey.
    """

    dtype: np.dtype[Any]
    channels: int
    family: str = ''
    to_bgr: int | None = None
    to_mono: int | None = None


_U8, _U16 = np.dtype(np.uint8), np.dtype(np.uint16)

# OpenCV names a mosaic by its second row and column, ROS by its first: hence the swapped letters.
ENCODINGS: dict[str, Encoding] = {
    'bgr8': Encoding(_U8, 3, 'bgr'),
    'rgb8': Encoding(_U8, 3, 'rgb'),
    'bgra8': Encoding(_U8, 4, 'bgra'),
    'rgba8': Encoding(_U8, 4, 'rgba'),
    'mono8': Encoding(_U8, 1, 'mono'),
    'mono16': Encoding(_U16, 1, 'mono'),
    'yuv422': Encoding(_U8, 2, 'yuv', cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2GRAY_UYVY),
    'yuv422_yuy2': Encoding(_U8, 2, 'yuv', cv2.COLOR_YUV2BGR_YUY2, cv2.COLOR_YUV2GRAY_YUY2),
    'bayer_rggb8': Encoding(_U8, 1, 'bayer', cv2.COLOR_BayerBG2BGR, cv2.COLOR_BayerBG2GRAY),
    'bayer_bggr8': Encoding(_U8, 1, 'bayer', cv2.COLOR_BayerRG2BGR, cv2.COLOR_BayerRG2GRAY),
    'bayer_gbrg8': Encoding(_U8, 1, 'bayer', cv2.COLOR_BayerGR2BGR, cv2.COLOR_BayerGR2GRAY),
    'bayer_grbg8': Encoding(_U8, 1, 'bayer', cv2.COLOR_BayerGB2BGR, cv2.COLOR_BayerGB2GRAY),
}
ENCODINGS['uyvy'] = ENCODINGS['yuv422']
ENCODINGS['yuyv'] = ENCODINGS['yuv422_yuy2']

_DIRECT = {
    ('bgr', 'rgb'): cv2.COLOR_BGR2RGB,
    ('bgr', 'bgra'): cv2.COLOR_BGR2BGRA,
    ('bgr', 'rgba'): cv2.COLOR_BGR2RGBA,
    ('bgr', 'mono'): cv2.COLOR_BGR2GRAY,
    ('rgb', 'bgr'): cv2.COLOR_RGB2BGR,
    ('rgb', 'bgra'): cv2.COLOR_RGB2BGRA,
    ('rgb', 'rgba'): cv2.COLOR_RGB2RGBA,
    ('rgb', 'mono'): cv2.COLOR_RGB2GRAY,
    ('bgra', 'bgr'): cv2.COLOR_BGRA2BGR,
    ('bgra', 'rgb'): cv2.COLOR_BGRA2RGB,
    ('bgra', 'rgba'): cv2.COLOR_BGRA2RGBA,
    ('bgra', 'mono'): cv2.COLOR_BGRA2GRAY,
    ('rgba', 'bgr'): cv2.COLOR_RGBA2BGR,
    ('rgba', 'rgb'): cv2.COLOR_RGBA2RGB,
    ('rgba', 'bgra'): cv2.COLOR_RGBA2BGRA,
    ('rgba', 'mono'): cv2.COLOR_RGBA2GRAY,
    ('mono', 'bgr'): cv2.COLOR_GRAY2BGR,
    ('mono', 'rgb'): cv2.COLOR_GRAY2RGB,
    ('mono', 'bgra'): cv2.COLOR_GRAY2BGRA,
    ('mono', 'rgba'): cv2.COLOR_GRAY2RGBA,
}
_KINDS = {'U': 'u', 'S': 'i', 'F': 'f'}


def find_encoding(name: str) -> Encoding:
    """Return the layout of an encoding: a name of sensor_msgs or OpenCV's, such as 32FC1.

    Raises:
        CvBridgeError: the name is not known.
    """
    if name in ENCODINGS:
        return ENCODINGS[name]
    match = re.fullmatch(r'(8|16|32|64)(U|S|F)C([1-9]\d*)', name)
    if match:
        bits, kind, channels = match.groups()
        try:
            return Encoding(np.dtype(f'{_KINDS[kind]}{int(bits) // 8}'), int(channels))
        except TypeError:
            pass
    raise CvBridgeError(f'Unrecognized image encoding [{name}]')


def convert(image: NDArray[Any], source: str, target: str) -> NDArray[Any]:
    """Return the image in another encoding; mono16 and mono8 scale to each other's full range.

    Args:
        image: (H, W) or (H, W, C) in the layout of `source`.
        source: encoding of the image.
        target: encoding that is wanted.

    Raises:
        CvBridgeError: there is no way from one to the other.
    """
    given, wanted = find_encoding(source), find_encoding(target)
    if source == target or given == wanted:
        return image
    if not given.family or not wanted.family:
        # Numbers without colour convert to themselves alone; a mono image is one such.
        if given.channels == wanted.channels and given.dtype == wanted.dtype:
            return image
        raise CvBridgeError(f'[{source}] is not a color format. but [{target}] is wanted')
    if wanted.family in ('yuv', 'bayer'):
        raise CvBridgeError(f'Unsupported conversion from [{source}] to [{target}]')
    return _with_depth(_with_family(image, given, wanted), wanted)


def _with_family(image: NDArray[Any], given: Encoding, wanted: Encoding) -> NDArray[Any]:
    if given.family == wanted.family:
        return image
    if given.to_bgr is None or given.to_mono is None:
        return cv2.cvtColor(image, _DIRECT[given.family, wanted.family])
    if wanted.family == 'mono':
        return cv2.cvtColor(image, given.to_mono)
    bgr = cv2.cvtColor(image, given.to_bgr)
    return bgr if wanted.family == 'bgr' else cv2.cvtColor(bgr, _DIRECT['bgr', wanted.family])


def _with_depth(image: NDArray[Any], wanted: Encoding) -> NDArray[Any]:
    if image.dtype == wanted.dtype:
        return image
    scale = np.iinfo(wanted.dtype).max / np.iinfo(image.dtype).max
    return np.asarray(np.rint(image * scale), dtype=wanted.dtype)
