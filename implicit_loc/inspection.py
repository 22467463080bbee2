"""What an estimate says about single cells of the image, for those who want to look at it."""

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import cell_pixels
from implicit_loc.localizer import PoseEstimate


def reprojection_angles(estimate: PoseEstimate, stride: int) -> NDArray[np.float64]:
    """Angle between where each cell looks and where the pose sees its world point, radians.

    Args:
        estimate: of the image.
        stride: pixels of the network's input per cell.

    Returns:
        (h, w), in [0, pi]; NaN where the prediction is not finite or the camera has no ray.
    """
    points = estimate.geometry.world_points.astype(np.float64)
    rays = estimate.camera.rays(stride).astype(np.float64)
    rotation = estimate.world_from_camera[:3, :3]
    seen = (points - estimate.world_from_camera[:3, 3]) @ rotation
    # Of small angles the arc cosine keeps half of the digits.
    sine = np.linalg.norm(np.cross(rays, seen), axis=-1)
    angles: NDArray[np.float64] = np.arctan2(sine, (rays * seen).sum(axis=-1))
    return angles


def cell_centres(
    estimate: PoseEstimate, stride: int, width: int, height: int
) -> NDArray[np.float64]:
    """Pixels through which the cells look, of the image as the camera made it.

    Args:
        estimate: of the image.
        stride: pixels of the network's input per cell.
        width: of the image.
        height: of the image.

    Returns:
        (h, w, 2), x then y, the first pixel's centre being (0, 0).
    """
    rows, columns = estimate.geometry.depth.shape
    pixels = cell_pixels(range(rows), range(columns), stride)
    scale = (width / estimate.camera.width, height / estimate.camera.height)
    return (pixels + 0.5) * scale - 0.5
