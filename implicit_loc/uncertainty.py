"""Covariance and confidence of an aligned pose, from the residuals of its own alignment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Neighbouring cells see the same surface through overlapping receptive fields, so their errors
# are not independent: about one in this many counts (an 8 x 8 neighbourhood).
CELLS_PER_INDEPENDENT_CELL = 64.0

# Nobody's labels are better than this: 5 mm and 0.1 degrees.
FLOOR_TRANSLATION_M = 0.005
FLOOR_ROTATION_RAD = 0.0017

# A cell agrees with the pose where its two points are this close, relative to its depth.
INLIER_RELATIVE_DISTANCE = 0.1

# Standard deviation of the position at which confidence has fallen to 1/e of the inlier ratio.
_CONFIDENCE_SCALE_M = 0.5


@dataclass(frozen=True)
class ResidualStatistics:
    """How well the two predicted clouds agree under the pose.

    Attributes:
        cells: cells with weight.
        inlier_ratio: weighted share of cells whose points agree within 10 % of the depth.
        alignment_rms_m: weighted root mean square distance of the two clouds, metres.
        alignment_median_m: weighted median distance of the two clouds, metres.
        reprojection_median_px: weighted median reprojection error of the world points, pixels
            of the network's input.
    """

    cells: int
    inlier_ratio: float
    alignment_rms_m: float
    alignment_median_m: float
    reprojection_median_px: float


def residual_statistics(
    world_from_camera: FloatArray,
    world_points: FloatArray,
    camera_points: FloatArray,
    rays: FloatArray,
    weights: FloatArray,
    focal_length: float,
) -> ResidualStatistics:
    """Statistics of one pose.

    Args:
        world_from_camera: (4, 4).
        world_points: (N, 3), metres.
        camera_points: (N, 3), metres.
        rays: unit-depth rays of the cells, (N, 3).
        weights: (N,), at least one positive.
        focal_length: of the network's input, pixels.
    """
    rotation, translation = world_from_camera[:3, :3], world_from_camera[:3, 3]
    seen = (world_points - translation) @ rotation
    distances = np.linalg.norm(seen - camera_points, axis=-1)
    shares = weights / weights.sum()
    # A point behind the camera has no pixel; it counts as infinitely far off.
    in_front = seen[:, 2] > 1e-3
    offsets = seen[:, :2] / np.where(in_front, seen[:, 2], 1.0)[:, None] - rays[:, :2]
    pixels = np.where(in_front, focal_length * np.linalg.norm(offsets, axis=-1), np.inf)
    agrees = distances < INLIER_RELATIVE_DISTANCE * camera_points[:, 2]
    return ResidualStatistics(
        cells=int(np.count_nonzero(weights)),
        inlier_ratio=float(np.clip((shares * agrees).sum(), 0.0, 1.0)),
        alignment_rms_m=float(np.sqrt((shares * distances**2).sum())),
        alignment_median_m=weighted_median(distances, shares),
        reprojection_median_px=weighted_median(pixels, shares),
    )


def pose_covariance(
    world_from_camera: FloatArray,
    camera_points: FloatArray,
    weights: FloatArray,
    alignment_rms_m: float,
) -> FloatArray:
    """Covariance of the camera's pose from the normal equations of the rigid alignment.

    A perturbation (dt, dtheta) of the pose in the world frame moves an aligned point by
    dt + dtheta x (R c); the information of independent cells adds up.

    Args:
        world_from_camera: (4, 4).
        camera_points: (N, 3), metres.
        weights: (N,), at least one positive.
        alignment_rms_m: weighted root mean square residual, metres.

    Returns:
        (6, 6): x y z, then rotation about the fixed axes X Y Z of the world; m2 and rad2.
        Positive definite.
    """
    shares = weights / weights.sum()
    arms = camera_points @ world_from_camera[:3, :3].T
    effective = 1.0 / np.square(shares).sum()
    independent = max(effective / CELLS_PER_INDEPENDENT_CELL, 1.0)
    variance = alignment_rms_m**2 / 3.0 + FLOOR_TRANSLATION_M**2
    mean_arm = shares @ arms
    second_moment = (arms * shares[:, None]).T @ arms
    information = np.zeros((6, 6))
    information[:3, :3] = np.eye(3)
    information[:3, 3:] = -_skew(mean_arm)
    information[3:, :3] = _skew(mean_arm)
    information[3:, 3:] = np.trace(second_moment) * np.eye(3) - second_moment
    # A millionth of the information of points at a metre keeps nearly collinear clouds solvable.
    information += 1e-6 * np.eye(6)
    covariance = np.linalg.inv(information) * variance / independent
    floor = np.repeat([FLOOR_TRANSLATION_M**2, FLOOR_ROTATION_RAD**2], 3)
    covariance = covariance + np.diag(floor)
    symmetric: FloatArray = (covariance + covariance.T) / 2
    return symmetric


def confidence(statistics: ResidualStatistics, covariance: FloatArray) -> float:
    """How far the pose may be trusted, in [0, 1]; an ordering, not yet a probability.

    The share of cells that agree with the pose, less where the position is poorly fixed.
    """
    largest_deviation = float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]))
    return statistics.inlier_ratio * float(np.exp(-largest_deviation / _CONFIDENCE_SCALE_M))


def weighted_median(values: FloatArray, shares: FloatArray) -> float:
    """The value at which half of the weight is reached; shares sum to 1."""
    order = np.argsort(values)
    reached = np.cumsum(shares[order])
    middle = min(int(np.searchsorted(reached, 0.5)), len(values) - 1)
    return float(values[order][middle])


def _skew(vector: FloatArray) -> FloatArray:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
