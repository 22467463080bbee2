"""How good a pose is: covariance and confidence, from the cells that it has to explain."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import Array, at_least, namespace, to_numpy
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
from implicit_loc.covariance import (
    RegionalEquations,
    covariance_of,
    regional_equations,
    with_weight,
)
from implicit_loc.landmark_alignment import LANDMARK_COST, doubt_of
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


class Agreement(NamedTuple):
    """How well the cells of one image agree with a pose; numbers without a dimension.

    Attributes:
        cells: with weight.
        mean_weight: of these.
        inlier_ratio: as of Evidence.
        rigid_inlier_ratio: likewise.
        offset: weighted median reprojection error, as a tangent; infinite behind the camera.
        distance: weighted median distance of world and camera points, metres.
        relative: the same, relative to the depth.
        squared_distance: weighted mean of the squared distance, m2.
    """

    cells: Array
    mean_weight: Array
    inlier_ratio: Array
    rigid_inlier_ratio: Array
    offset: Array
    distance: Array
    relative: Array
    squared_distance: Array


@dataclass(frozen=True)
class PoseFacts:
    """The few numbers from which `conclude` assesses a pose, on the host.

    Attributes:
        world_from_camera: (4, 4).
        first_pose: (4, 4), as in PoseEstimate.
        agreement: of the cells with the pose.
        equations: of what the pose was refined on.
        focal_length: of the network's input, pixels.
        landmark_share: of the landmarks that agree; 0 where none were looked for.
        on_landmarks: whether the pose is theirs.
    """

    world_from_camera: FloatArray
    first_pose: FloatArray
    agreement: Agreement
    equations: RegionalEquations
    focal_length: float
    landmark_share: float
    on_landmarks: bool


def assess(solution: Solution, description: CheckpointDescription) -> Assessment:
    """Covariance and confidence of the pose of one image.

    Args:
        solution: of one image, B = 1, on any device, whichever solver found it; its poses are
            finite.
        description: of the checkpoint, whose calibration and keyframes are used.
    """
    return conclude(_facts(solution), description)


def _facts(solution: Solution) -> PoseFacts:
    """What an assessment of the one image of a solution needs to know."""
    pose, first = _on_host(solution.world_from_camera), _on_host(solution.first_pose)
    cells, landmarks = countable(solution.cells.map(_on_host)), solution.on_landmarks
    if landmarks is not None and landmarks.is_found:
        found = with_weight(countable(landmarks.cells.map(_on_host)))
        equations = regional_equations(found, pose, LANDMARK_COST)
    else:
        equations = regional_equations(with_weight(cells), pose)
    return PoseFacts(
        world_from_camera=pose[0].numpy(),
        first_pose=first[0].numpy(),
        agreement=agreement(cells.map(to_numpy), pose.numpy()),
        equations=RegionalEquations(*map(to_numpy, equations)),
        focal_length=float(cells.focal_length[0]),
        landmark_share=0.0 if landmarks is None else landmarks.share,
        on_landmarks=landmarks is not None and landmarks.is_found,
    )


def conclude(facts: PoseFacts, description: CheckpointDescription) -> Assessment:
    """As `assess`, of what was found out about a pose."""
    calibration = description.calibration
    covariance = covariance_of(
        facts.equations,
        facts.world_from_camera,
        calibration.factors(facts.on_landmarks),
        doubt_of(facts.landmark_share) if facts.on_landmarks else 1.0,
    )
    found = Agreement(*map(float, facts.agreement))
    # Shares that were rounded up may not add up to one.
    inlier_ratio, rigid_inlier_ratio = (
        min(share, 1.0) for share in (found.inlier_ratio, found.rigid_inlier_ratio)
    )
    evidence = Evidence(
        inlier_ratio=inlier_ratio,
        reprojection_median_rad=math.atan(found.offset),
        rigid_inlier_ratio=rigid_inlier_ratio,
        rigid_median=found.relative,
        mean_weight=found.mean_weight,
        landmark_share=facts.landmark_share,
        **deviations(covariance),
        **_places(facts, description),
    )
    residuals = ResidualStatistics(
        cells=int(found.cells),
        inlier_ratio=rigid_inlier_ratio,
        alignment_rms_m=math.sqrt(found.squared_distance),
        alignment_median_m=found.distance,
        reprojection_median_px=found.offset * facts.focal_length,
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


def countable(cells: Cells) -> Cells:
    """The cells in float64, those that cannot count without weight and at zero."""
    cells = cells.map(Tensor.double)
    usable = (cells.weights > 0) & (cells.weights < torch.inf)
    for part in (cells.world_points, cells.camera_points, cells.rays):
        usable &= (part.abs() < _FARTHEST_M).all(dim=-1)
    weights = torch.where(usable, cells.weights, 0)
    largest = weights.amax(dim=-1, keepdim=True)
    return Cells(
        torch.where(usable[..., None], cells.world_points, 0),
        torch.where(usable[..., None], cells.camera_points, 0),
        torch.where(usable[..., None], cells.rays, 0),
        # Their sum could exceed any range.
        weights / torch.where(largest > 1, largest, 1),
        cells.focal_length,
    )


def agreement(cells: Cells, world_from_camera: Array) -> Agreement:
    """How well the cells of one image agree with a pose (1, 4, 4); nothing waits for the host.

    Args:
        cells: as of `countable`; of NumPy's arrays where the pose is one.
        world_from_camera: float64.
    """
    weights, expected, rays, world = (
        part[0] for part in (cells.weights, cells.camera_points, cells.rays, cells.world_points)
    )
    pose, xp = world_from_camera[0], namespace(world_from_camera)
    total, used = weights.sum(), (weights > 0).sum()
    shares = weights / at_least(total, float(np.finfo(np.float64).tiny))
    seen = (world - pose[:3, 3]) @ pose[:3, :3]
    squared = ((seen - expected) ** 2).sum(axis=-1)
    distances = squared**0.5
    relative = distances / at_least(expected[:, 2], _LEAST_DEPTH_M)
    in_front = seen[:, 2] > _LEAST_DEPTH_M
    tangents = seen[:, :2] / xp.where(in_front, seen[:, 2], 1)[:, None]
    # A point behind the camera has no pixel; it counts as infinitely far off.
    errors = ((tangents - rays[:, :2]) ** 2).sum(axis=-1) ** 0.5
    offsets = xp.where(in_front, errors, math.inf)
    sizes = xp.stack([offsets, distances, relative], axis=0)
    offset, distance, relative_median = weighted_median(sizes, shares)
    return Agreement(
        cells=used,
        mean_weight=total / at_least(used, 1),
        inlier_ratio=(shares * (offsets < INLIER_ANGLE_RAD)).sum(),
        rigid_inlier_ratio=(shares * (relative < INLIER_RELATIVE_DISTANCE)).sum(),
        offset=offset,
        distance=distance,
        relative=relative_median,
        squared_distance=(shares * squared).sum(),
    )


def _places(facts: PoseFacts, description: CheckpointDescription) -> dict[str, float]:
    """How far a pose is from its first one and from the training: entries of Evidence."""
    pose, first = facts.world_from_camera, facts.first_pose
    position = pose[:3, 3]
    least, largest = np.array(description.extent)
    positions, rotations = _keyframes(description.keyframes)
    # One call for all: it takes its time for starting, not for how many there are.
    angles = _angles(np.concatenate([first[None, :3, :3], rotations]), pose[:3, :3])
    found = {
        'moved_m': float(np.linalg.norm(position - first[:3, 3])),
        'turned_rad': float(angles[0]),
        'keyframe_m': 0.0,
        'keyframe_rad': 0.0,
        'outside_m': float(np.linalg.norm(position - position.clip(least, largest))),
    }
    if len(positions):
        metres, radians = np.linalg.norm(positions - position, axis=-1), angles[1:]
        nearest = int((metres / RIGHT_M + radians / RIGHT_RAD).argmin())
        found['keyframe_m'] = float(metres[nearest])
        found['keyframe_rad'] = float(radians[nearest])
    return found


def _angles(rotations: FloatArray, rotation: FloatArray) -> FloatArray:
    """Between rotations (..., 3, 3) and another one, radians, (...)."""
    first, second = torch.from_numpy(rotations), torch.from_numpy(rotation.copy())
    return np.asarray(angle_between(first, second).numpy())


@lru_cache(maxsize=16)
def _keyframes(poses: tuple[tuple[float, ...], ...]) -> tuple[FloatArray, FloatArray]:
    """Positions (K, 3) and rotations (K, 3, 3)."""
    values = torch.tensor(poses, dtype=torch.float64).reshape(-1, 7)
    return values[:, :3].numpy(), quaternion_to_matrix(values[:, 3:]).numpy()
