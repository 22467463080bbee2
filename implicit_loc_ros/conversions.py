"""Messages -> images and cameras."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from implicit_loc.camera import Camera
from implicit_loc.errors import CameraError, ImageError

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True)
class _Encoding:
    """How one pixel is stored, and OpenCV's conversion to RGB (None: it is RGB)."""

    channels: int
    bytes_per_value: int
    to_rgb: int | None


# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by its first four.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}

# The names of sensor_msgs/image_encodings.
ENCODINGS: dict[str, _Encoding] = {
    'rgb8': _Encoding(3, 1, None),
    'bgr8': _Encoding(3, 1, cv2.COLOR_BGR2RGB),
    'rgba8': _Encoding(4, 1, cv2.COLOR_RGBA2RGB),
    'bgra8': _Encoding(4, 1, cv2.COLOR_BGRA2RGB),
    'rgb16': _Encoding(3, 2, None),
    'bgr16': _Encoding(3, 2, cv2.COLOR_BGR2RGB),
    'mono8': _Encoding(1, 1, cv2.COLOR_GRAY2RGB),
    'mono16': _Encoding(1, 2, cv2.COLOR_GRAY2RGB),
    'yuv422': _Encoding(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Encoding(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Encoding(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': _Encoding(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    **{f'bayer_{name}8': _Encoding(1, 1, code) for name, code in _BAYER.items()},
    **{f'bayer_{name}16': _Encoding(1, 2, code) for name, code in _BAYER.items()},
}

# Drivers' names for the models that the core knows under CameraInfo's.
_MODEL_ALIASES = {'fisheye': 'equidistant', 'kannala_brandt4': 'equidistant'}

# Coefficients of each model; drivers pad with zeros beyond them.
_COEFFICIENTS = {'plumb_bob': 5, 'rational_polynomial': 8, 'equidistant': 4}


def image_from_message(message: Image) -> RgbImage:
    """Pixels of an Image as RGB.

    16-bit values keep their upper byte. An rgb8 image is a view of the message's bytes.

    Returns:
        (height, width, 3) uint8; rows of an rgb8 image may be padded.

    Raises:
        ImageError: unknown encoding, zero size, or data that contradicts height and step.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _image_through_cv_bridge(message)
    pixel_bytes = encoding.channels * encoding.bytes_per_value
    _check_layout(message, pixel_bytes)
    byte_order = '>' if message.is_bigendian else '<'
    pixels: NDArray[np.unsignedinteger[Any]] = np.ndarray(
        (message.height, message.width, encoding.channels),
        np.dtype(f'{byte_order}u{encoding.bytes_per_value}'),
        np.frombuffer(message.data, np.uint8),
        strides=(message.step, pixel_bytes, encoding.bytes_per_value),
    )
    if encoding.bytes_per_value == 2:
        pixels = (pixels >> 8).astype(np.uint8)
    if encoding.to_rgb is None:
        return pixels.view(np.uint8)
    try:
        return np.asarray(cv2.cvtColor(pixels, encoding.to_rgb), dtype=np.uint8)
    except cv2.error as error:
        raise ImageError(
            f'the {message.encoding} image of {message.width}x{message.height} pixels '
            f'cannot be converted: {error.err}'
        ) from error


def _image_through_cv_bridge(message: Image) -> RgbImage:
    """What this table does not know, such as nv21, cv_bridge may."""
    unknown = ImageError(
        f'the image has the encoding {message.encoding!r}; known are {", ".join(ENCODINGS)}, '
        'and what cv_bridge converts to rgb8'
    )
    if message.width == 0 or message.height == 0 or len(message.data) == 0:
        raise unknown
    try:
        # Not at the top: its compiled part fails with NumPy 2 on some distributions, and a
        # camera with a common encoding does not need it.
        from cv_bridge import CvBridge

        converted = CvBridge().imgmsg_to_cv2(message, desired_encoding='rgb8')
    except Exception as error:
        raise unknown from error
    return np.asarray(converted, dtype=np.uint8)


def _check_layout(message: Image, pixel_bytes: int) -> None:
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise ImageError(f'the image has size {width}x{height}: it must be > 0')
    if step < width * pixel_bytes:
        raise ImageError(
            f'the image has step {step}, but a row of {width} pixels in {message.encoding} '
            f'takes {width * pixel_bytes} bytes'
        )
    if ENCODINGS[message.encoding].channels == 2 and width % 2:
        # Two pixels share their colour; older versions of OpenCV read past the row instead.
        raise ImageError(
            f'the {message.encoding} image of {width}x{height} pixels cannot be converted: '
            'its width must be even'
        )
    if len(message.data) != height * step:
        raise ImageError(
            f'the image has {len(message.data)} bytes of data, but its height {height} and '
            f'step {step} make {height * step}'
        )


def image_from_compressed_message(message: CompressedImage) -> RgbImage:
    """Pixels of a JPEG or PNG image as RGB.

    Returns:
        (height, width, 3) uint8, contiguous.

    Raises:
        ImageError: neither JPEG nor PNG, truncated or damaged.
    """
    data = bytes(message.data)
    if data.startswith(b'\xff\xd8'):
        end = b'\xff\xd9'
    elif data.startswith(b'\x89PNG\r\n'):
        # The last chunk is empty, so its checksum never changes.
        end = b'IEND\xaeB`\x82'
    else:
        raise ImageError(
            f'the compressed image (format {message.format!r}, {len(data)} bytes) is neither '
            'JPEG nor PNG'
        )
    # Decoders fill the rest of a truncated image with grey, without an error. Only the last bytes
    # count, as an EXIF thumbnail has an end of its own; drivers pad with zeros.
    if not data.rstrip(b'\0').endswith(end):
        raise ImageError(f'the compressed image is truncated: {len(data)} bytes without an end')
    # The camera's intrinsics belong to the pixels as stored: EXIF must not rotate them.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f'the compressed image cannot be decoded: {error.err}') from error
    if decoded is None:
        raise ImageError(f'the compressed image ({len(data)} bytes) is damaged')
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def camera_from_info(info: CameraInfo, rectified: bool = False) -> Camera:
    """Camera of the images that a CameraInfo belongs to, its region of interest and binning done.

    Args:
        info: as published.
        rectified: the images are rectified: P holds their intrinsics, and no distortion is left.

    Returns:
        The same object for equal messages, so that whatever is cached per camera stays valid.

    Raises:
        CameraError: zero size, K = 0 (P = 0 if rectified), NaN, unknown model, wrong number of
            coefficients.
    """
    roi = info.roi
    values = info.p if rectified else info.k
    step = 4 if rectified else 3
    if rectified and (values[0] <= 0 or values[step + 1] <= 0):
        raise CameraError(
            f'the focal length in P is ({values[0]}, {values[step + 1]}) px, but image_rectified '
            'takes P: publish a CameraInfo with its P, or localize in the unrectified images'
        )
    return _camera(
        (info.width, info.height),
        (float(values[0]), float(values[step + 1]), float(values[2]), float(values[step + 2])),
        'none' if rectified else info.distortion_model,
        () if rectified else tuple(float(value) for value in info.d),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        (max(info.binning_x, 1), max(info.binning_y, 1)),
    )


@lru_cache(maxsize=8)
def _camera(
    size: tuple[int, int],
    intrinsics: tuple[float, float, float, float],
    model: str,
    coefficients: tuple[float, ...],
    roi: tuple[int, int, int, int],
    binning: tuple[int, int],
) -> Camera:
    model, coefficients = _distortion(model, coefficients)
    camera = Camera(*size, *intrinsics, distortion_model=model, distortion=coefficients)
    # All zeros means the full image.
    left, top, width, height = roi
    if width or height:
        camera = camera.cropped(left, top, width, height)
    if binning != (1, 1):
        width, height = camera.width // binning[0], camera.height // binning[1]
        if width == 0 or height == 0:
            raise CameraError(f'the camera has binning {binning}, more than its size {size}')
        # Pixels that do not fill a bin are cut off, they do not shrink the others.
        camera = camera.cropped(0, 0, width * binning[0], height * binning[1])
        camera = camera.scaled(width, height)
    return camera


def _distortion(model: str, coefficients: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """Name and coefficients as the core takes them."""
    model = _MODEL_ALIASES.get(model, model)
    count = _COEFFICIENTS.get(model, len(coefficients))
    if not any(coefficients[count:]):
        coefficients = coefficients[:count]
    # Simulators leave the model empty, or its coefficients. Not so the fisheye: its projection
    # differs from a pinhole's even with all coefficients zero.
    if model in ('', 'none', 'plumb_bob', 'rational_polynomial') and not any(coefficients):
        return 'none', ()
    return model, coefficients
