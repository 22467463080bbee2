"""What an estimate says about single places of the image, for those who want to look at it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc.camera import cell_pixels
from implicit_loc.landmark_alignment import sighting
from implicit_loc.landmark_search import Landmarks, Sight
from implicit_loc.pose_estimate import PoseEstimate


@dataclass(frozen=True)
class LandmarksSeen:
    """Landmarks of the map that were found in an image.

    Attributes:
        pixels: of the network's input where they were found, (N, 2), x then y.
        agree: whether the pose sees them there, (N,).
    """

    pixels: NDArray[np.float64]
    agree: NDArray[np.bool_]


def landmarks_seen(estimate: PoseEstimate, landmarks: Landmarks) -> LandmarksSeen:
    """The landmarks that a pose should see, as a last look for them finds them.

    Where no GPU has had that look, it takes a few milliseconds.

    Args:
        estimate: of the image.
        landmarks: of the map.
    """
    if estimate.landmarks_found is not None:
        rows = estimate.landmarks_found
        return LandmarksSeen(rows[:, :2], rows[:, 2] > 0)
    descriptors = estimate.geometry.descriptors
    found = None
    if descriptors is not None:
        sight = Sight(landmarks, descriptors, estimate.camera, None)
        pose = torch.from_numpy(estimate.world_from_camera.astype(np.float64))
        found = sighting(sight, pose[None])
    if found is None:
        return LandmarksSeen(np.empty((0, 2)), np.empty(0, bool))
    cells, agree = found
    is_found = cells.weights[0].numpy() > 0
    pixels = estimate.camera.project(cells.rays[0].numpy()[is_found])
    return LandmarksSeen(pixels, agree.numpy()[is_found])


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
