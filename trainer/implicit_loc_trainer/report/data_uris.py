"""Pictures inside a page."""

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

ByteImage = NDArray[np.uint8]


def jpeg_data(image: ByteImage, width: int, quality: int) -> bytes:
    """An image (H, W, 3) RGB, shrunk to a width in pixels, as JPEG of a quality up to 100."""
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def jpeg_uri(data: bytes) -> str:
    """The data URI of a JPEG file."""
    return f'data:image/jpeg;base64,{base64.b64encode(data).decode("ascii")}'


def png_uri(picture: ByteImage) -> str:
    """The data URI of a picture (h, w, 3) RGB, exact to the pixel."""
    _, data = cv2.imencode('.png', np.ascontiguousarray(picture[..., ::-1]))
    return f'data:image/png;base64,{base64.b64encode(data.tobytes()).decode("ascii")}'
