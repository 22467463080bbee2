"""Where in the world the followed features lie."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.landmarks.tracks import Tracks

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

_LEAST_VIEWS = 3
_LEAST_PARALLAX_DEG = 2.0
_LEAST_DEPTH_M = 0.05
# From round to round: a wrong observation drags its point away from the right ones at first.
_LARGEST_ERRORS_PX = (16.0, 8.0, 4.0, 2.0)


@dataclass(frozen=True)
class Observations:
    """Points and the frames that see them.

    Attributes:
        frame: (M,).
        world_points: (M, 3), metres.
    """

    frame: Indices
    world_points: FloatArray


def triangulate(
    tracks: Tracks, world_from_camera: FloatArray, focal_length_px: FloatArray
) -> Observations:
    """Points of the tracks that enough frames agree on.

    Linear triangulation weighted by the inverse depth (Hartley and Sturm 1997), alternating with
    the choice of the observations that agree with it.

    Args:
        tracks: observations.
        world_from_camera: of every frame, (N, 4, 4).
        focal_length_px: of every frame where its features were found, (N,).

    Returns:
        The observations that agree, each with its track's point.
    """
    # Worlds of geographic size would cost digits.
    centre = world_from_camera[:, :3, 3].mean(axis=0) if len(world_from_camera) else np.zeros(3)
    centred = world_from_camera.copy()
    centred[:, :3, 3] -= centre
    camera_from_world: FloatArray = np.linalg.inv(centred).astype(np.float64)[tracks.frame]
    focal = focal_length_px[tracks.frame]
    track, rays = tracks.track, tracks.rays
    count = int(track.max()) + 1 if len(track) else 0
    agrees = np.bincount(track, minlength=count)[track] >= _LEAST_VIEWS
    depth: FloatArray = np.ones(len(track))
    points: FloatArray = np.zeros((count, 3))
    for largest in _LARGEST_ERRORS_PX:
        points = _solve(track, rays, camera_from_world, agrees / depth, count)
        seen = (camera_from_world[:, :3, :3] @ points[track][..., None])[..., 0]
        seen += camera_from_world[:, :3, 3]
        depth = np.maximum(seen[:, 2], _LEAST_DEPTH_M)
        error = focal * np.linalg.norm(seen[:, :2] / depth[:, None] - rays[:, :2], axis=1)
        agrees = (error < largest) & (seen[:, 2] > _LEAST_DEPTH_M)
        agrees &= np.bincount(track, agrees, count)[track] >= _LEAST_VIEWS
    directions = points[track] - centred[tracks.frame][:, :3, 3]
    agrees &= _parallax_deg(track, directions, agrees, count)[track] > _LEAST_PARALLAX_DEG
    return Observations(tracks.frame[agrees], points[track][agrees] + centre)


def _solve(
    track: Indices,
    rays: FloatArray,
    camera_from_world: FloatArray,
    weights: FloatArray,
    count: int,
) -> FloatArray:
    """Weighted least squares of all tracks at once, (count, 3).

    Each observation gives the two equations (P_i - ray_i P_3) X = 0, i = 1, 2.
    """
    rows = camera_from_world[:, :2] - rays[:, :2, None] * camera_from_world[:, 2:3]
    rows = rows * weights[:, None, None]
    coefficients, constants = rows[..., :3], -rows[..., 3]
    normal = np.zeros((count, 3, 3))
    right = np.zeros((count, 3))
    np.add.at(normal, track, np.einsum('mij,mik->mjk', coefficients, coefficients))
    np.add.at(right, track, np.einsum('mij,mi->mj', coefficients, constants))
    # Tracks without parallax have no solution: a little damping keeps them finite, and they are
    # refused afterwards.
    size = np.trace(normal, axis1=1, axis2=2)[:, None, None]
    damped = normal + (1e-9 * size + 1e-12) * np.eye(3)
    return np.asarray(np.linalg.solve(damped, right[..., None])[..., 0])


def _parallax_deg(
    track: Indices, directions: FloatArray, chosen: NDArray[np.bool_], count: int
) -> FloatArray:
    """Twice the widest angle to the mean line of sight of each track, (count,) degrees."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    mean = np.zeros((count, 3))
    np.add.at(mean, track[chosen], unit[chosen])
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    cosine = np.ones(count)
    np.minimum.at(cosine, track[chosen], np.einsum('mi,mi->m', unit, mean[track])[chosen])
    return np.asarray(2 * np.degrees(np.arccos(np.clip(cosine, -1, 1))))
