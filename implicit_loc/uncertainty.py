"""How good a pose is: covariance and confidence, from the cells that it has to explain."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.confidence import (
    INLIER_ANGLE_RAD,
    INLIER_RELATIVE_DISTANCE,
    RIGHT_M,
    RIGHT_RAD,
    Evidence,
    confidence,
)
from implicit_loc.covariance import pose_covariance
from implicit_loc.landmark_alignment import LANDMARK_COST
from implicit_loc.poses import angle_between, quaternion_to_matrix
from implicit_loc.robust import weighted_median
from implicit_loc.solvers import Solution

FloatArray = NDArray[np.float64]

# Nearer to the camera plane, a point has no pixel.
_LEAST_DEPTH_M = 1e-3

# A point farther off than this is not a prediction.
_FARTHEST_M = 1e9


@dataclass(frozen=True)
class ResidualStatistics:
    """How well the two predicted clouds agree under the pose.

    Attributes:
        cells: cells with weight.
        inlier_ratio: weighted share of cells whose points agree within 10 % of the depth.
        alignment_rms_m: weighted root mean square distance of the two clouds, metres.
        alignment_median_m: weighted median distance of the two clouds, metres.
        reprojection_median_px: weighted median reprojection error of the world points, pixels
            of the network's input; infinite where most points lie behind the camera.
    """

    cells: int
    inlier_ratio: float
    alignment_rms_m: float
    alignment_median_m: float
    reprojection_median_px: float


@dataclass(frozen=True)
class Assessment:
    """How good a pose is.

    Attributes:
        covariance: (6, 6), as in PoseEstimate: symmetric and positive definite.
        confidence: in [0, 1].
        evidence: what the confidence follows from.
        residuals: agreement of the predicted clouds under the pose.
    """

    covariance: FloatArray
    confidence: float
    evidence: Evidence
    residuals: ResidualStatistics


def assess(solution: Solution, description: CheckpointDescription) -> Assessment:
    """Covariance and confidence of the pose of one image.

    Args:
        solution: of one image, B = 1, on any device, whichever solver found it; its poses are
            finite.
        description: of the checkpoint, whose calibration and keyframes are used.
    """
    pose = _on_host(solution.world_from_camera)
    first = _on_host(solution.first_pose)
    cells, landmarks = _usable(solution.cells), solution.on_landmarks
    calibration = description.calibration
    if landmarks is not None and landmarks.is_found:
        found, factors = _usable(landmarks.cells), calibration.factors(on_landmarks=True)
        covariance = pose_covariance(found, pose, factors, LANDMARK_COST, landmarks.doubt)
    else:
        covariance = pose_covariance(cells, pose, calibration.factors(on_landmarks=False))
    final = pose[0].numpy()
    residuals, agreement = _agreement(cells, final)
    evidence = Evidence(
        **agreement,
        landmark_share=0.0 if landmarks is None else landmarks.share,
        **deviations(covariance),
        moved_m=float((pose - first)[0, :3, 3].norm()),
        turned_rad=float(angle_between(pose[0, :3, :3], first[0, :3, :3])),
        **_distances(final, description),
    )
    probability = confidence(evidence, calibration.confidence)
    return Assessment(covariance, probability, evidence, residuals)


def deviations(covariance: FloatArray) -> dict[str, float]:
    """The entries of Evidence that follow from a pose's covariance (6, 6)."""
    position, rotation = covariance[:3, :3], covariance[3:, 3:]
    return {
        'deviation_m': math.sqrt(np.linalg.eigvalsh(position)[-1]),
        'deviation_rad': math.sqrt(np.linalg.eigvalsh(rotation)[-1]),
    }


def _on_host(values: Tensor) -> Tensor:
    return values.detach().to('cpu', torch.float64)


def _usable(cells: Cells) -> Cells:
    """The cells in float64 on the host, those that cannot count without weight and at zero."""
    weights = _on_host(cells.weights)
    world_points, camera_points = _on_host(cells.world_points), _on_host(cells.camera_points)
    rays = _on_host(cells.rays)
    usable = (weights > 0) & (weights < torch.inf)
    for part in (world_points, camera_points, rays):
        usable &= (part.abs() < _FARTHEST_M).all(dim=-1)
    weights = torch.where(usable, weights, 0)
    largest = weights.amax(dim=-1, keepdim=True)
    return Cells(
        torch.where(usable[..., None], world_points, 0),
        torch.where(usable[..., None], camera_points, 0),
        torch.where(usable[..., None], rays, 0),
        # Their sum could exceed any range.
        weights / torch.where(largest > 1, largest, 1),
        _on_host(cells.focal_length),
    )


def _agreement(cells: Cells, pose: FloatArray) -> tuple[ResidualStatistics, dict[str, float]]:
    """How well the cells agree with a pose (4, 4): statistics, and entries of Evidence."""
    weights, expected, rays = (
        part[0].numpy() for part in (cells.weights, cells.camera_points, cells.rays)
    )
    shares = weights / max(weights.sum(), np.finfo(np.float64).tiny)
    seen = (cells.world_points[0].numpy() - pose[:3, 3]) @ pose[:3, :3]
    distances = np.linalg.norm(seen - expected, axis=-1)
    relative = distances / np.maximum(expected[:, 2], _LEAST_DEPTH_M)
    in_front = seen[:, 2] > _LEAST_DEPTH_M
    tangents = seen[:, :2] / np.where(in_front, seen[:, 2], 1)[:, None]
    # A point behind the camera has no pixel; it counts as infinitely far off.
    offsets = np.where(in_front, np.linalg.norm(tangents - rays[:, :2], axis=-1), np.inf)
    medians = weighted_median(np.stack([offsets, distances, relative]), shares)
    offset, distance, relative_median = map(float, medians)
    inlier_ratio = _share(shares[relative < INLIER_RELATIVE_DISTANCE])
    used = int((weights > 0).sum())
    residuals = ResidualStatistics(
        cells=used,
        inlier_ratio=inlier_ratio,
        alignment_rms_m=math.sqrt(float((shares * distances**2).sum())),
        alignment_median_m=distance,
        reprojection_median_px=offset * float(cells.focal_length[0]),
    )
    return residuals, {
        'inlier_ratio': _share(shares[offsets < INLIER_ANGLE_RAD]),
        'reprojection_median_rad': math.atan(offset),
        'rigid_inlier_ratio': inlier_ratio,
        'rigid_median': relative_median,
        'mean_weight': float(weights.sum() / max(used, 1)),
    }


def _share(shares: FloatArray) -> float:
    return min(float(shares.sum()), 1.0)


def _distances(pose: FloatArray, description: CheckpointDescription) -> dict[str, float]:
    """How far a pose (4, 4) is from where the training was: entries of Evidence."""
    position = pose[:3, 3]
    least, largest = np.array(description.extent)
    outside = float(np.linalg.norm(position - position.clip(least, largest)))
    if not description.keyframes:
        return {'keyframe_m': 0.0, 'keyframe_rad': 0.0, 'outside_m': outside}
    positions, rotations = _keyframes(description.keyframes)
    metres = np.linalg.norm(positions - position, axis=-1)
    radians = _angles(rotations, pose[:3, :3])
    nearest = int((metres / RIGHT_M + radians / RIGHT_RAD).argmin())
    return {
        'keyframe_m': float(metres[nearest]),
        'keyframe_rad': float(radians[nearest]),
        'outside_m': outside,
    }


def _angles(rotations: FloatArray, rotation: FloatArray) -> FloatArray:
    """Between rotations (..., 3, 3) and another one, radians, (...)."""
    first, second = torch.from_numpy(rotations), torch.from_numpy(rotation.copy())
    return np.asarray(angle_between(first, second).numpy())


@lru_cache(maxsize=16)
def _keyframes(poses: tuple[tuple[float, ...], ...]) -> tuple[FloatArray, FloatArray]:
    """Positions (K, 3) and rotations (K, 3, 3)."""
    values = torch.tensor(poses, dtype=torch.float64)
    return values[:, :3].numpy(), quaternion_to_matrix(values[:, 3:]).numpy()
