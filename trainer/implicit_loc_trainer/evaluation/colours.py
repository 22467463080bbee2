"""What the network predicts for an image, as small RGB pictures: one pixel per output cell."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc import preprocessing
from implicit_loc.camera import Camera

FloatArray = NDArray[np.float64]
ByteImage = NDArray[np.uint8]


def depth_colours(depth: NDArray[np.float32], low: float, high: float) -> ByteImage:
    """Depths from `low` (dark) to `high` (bright).

    Args:
        depth: (h, w), metres.
        low: metres.
        high: metres, above `low`.

    Returns:
        (h, w, 3) RGB.
    """
    return _mapped((depth - low) / (high - low), cv2.COLORMAP_VIRIDIS)


def weight_colours(weights: NDArray[np.float32]) -> ByteImage:
    """Weights in [0, 1], (h, w), from black to bright, (h, w, 3) RGB."""
    return _mapped(weights, cv2.COLORMAP_MAGMA)


def world_colours(
    world_points: NDArray[np.float32], bounds: tuple[FloatArray, FloatArray]
) -> ByteImage:
    """World coordinates as colours: x is red, y green, z blue.

    Args:
        world_points: (h, w, 3), metres.
        bounds: points (3) that become black and white, metres.

    Returns:
        (h, w, 3) RGB.
    """
    low, high = bounds
    return _bytes((world_points - low) / (high - low))


def world_bounds(clouds: Sequence[NDArray[np.float32]]) -> tuple[FloatArray, FloatArray]:
    """Bounds of most world points: the same for all pictures, so that colours can be compared.

    Args:
        clouds: at least one of (..., 3), metres.

    Returns:
        Least and largest point, (3) each, the second above the first in every coordinate.
    """
    points = np.concatenate([cloud.reshape(-1, 3) for cloud in clouds]).astype(np.float64)
    low, high = np.nanpercentile(points, (2.0, 98.0), axis=0)
    return low, np.maximum(high, low + 1e-6)


def cell_colours(image: ByteImage, camera: Camera, input_height: int, stride: int) -> ByteImage:
    """The mean colour of the image in every output cell.

    Args:
        image: (H, W, 3) RGB.
        camera: of the image.
        input_height: of the network, pixels.
        stride: of the network's output.

    Returns:
        (h, w, 3) RGB, one pixel per cell.
    """
    resized = preprocessing.input_camera(camera, input_height)
    small = preprocessing.resize(image, resized.width, resized.height)
    # The last row and column of cells may hang over the image's border.
    padding = ((0, -resized.height % stride), (0, -resized.width % stride), (0, 0))
    padded = np.pad(small, padding, mode='edge')
    rows, columns = padded.shape[0] // stride, padded.shape[1] // stride
    return preprocessing.resize(padded, columns, rows)


def _mapped(values: NDArray[np.float32], colour_map: int) -> ByteImage:
    coloured = cv2.applyColorMap(_bytes(values), colour_map)
    return np.asarray(coloured[..., ::-1], dtype=np.uint8)


def _bytes(values: NDArray[np.float32] | FloatArray) -> ByteImage:
    return np.asarray(255.0 * np.clip(np.nan_to_num(values), 0.0, 1.0) + 0.5, dtype=np.uint8)
