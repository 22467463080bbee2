"""What became of every frame of an evaluation, and what all of them say together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implicit_loc.localizer import PoseEstimate
from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.evaluation.metrics import ErrorSummary, summarize
from implicit_loc_trainer.evaluation.trust import TrustSummary, pose_errors, summarize_trust

FloatArray = NDArray[np.float64]

# The solver that all others are measured against: the published method.
CLOSED_FORM = 'weighted'

# The stages that lead from the network's prediction to the pose.
SOLVING = ('alignment', 'refinement', 'consensus', 'landmarks')


@dataclass(frozen=True)
class FrameResult:
    """Outcome of one frame.

    Attributes:
        name: of the frame.
        timestamp: seconds from the start of the recording.
        true_pose: world_from_camera of the recording, (4, 4), metres.
        estimated_pose: world_from_camera, (4, 4), metres; None where the frame is lost.
        covariance: of the pose, (6, 6), as in PoseEstimate; None where the frame is lost.
        translation_error_m: infinite where the frame is lost.
        rotation_error_deg: infinite where the frame is lost.
        timings: seconds of the stages, as in PoseEstimate; empty where the frame is lost.
        used_fallback: whether the pose comes from the robust fallback.
        confidence: in [0, 1]; None where the frame is lost.
        residuals: None where the frame is lost.
        lost_reason: empty where there is a pose.
    """

    name: str
    timestamp: float
    true_pose: FloatArray
    estimated_pose: FloatArray | None = None
    covariance: FloatArray | None = None
    translation_error_m: float = math.inf
    rotation_error_deg: float = math.inf
    timings: Mapping[str, float] = field(default_factory=dict)
    used_fallback: bool = False
    confidence: float | None = None
    residuals: ResidualStatistics | None = None
    lost_reason: str = ''


@dataclass(frozen=True)
class ShownFrame:
    """One of the best or worst frames, with what is needed to draw it."""

    result: FrameResult
    sample: Sample
    estimate: PoseEstimate


@dataclass(frozen=True)
class Evaluation:
    """Results of all frames in their order.

    Attributes:
        solver: of the localizer, a key of implicit_loc.solvers.SOLVERS.
        frames: by the localizer.
        solvers: by other solvers on the same predictions; empty where that was not asked for.
        best: the localized frames with the smallest translation errors, best first.
        worst: the localized frames with the largest translation errors, worst first.
    """

    solver: str
    frames: list[FrameResult]
    solvers: Mapping[str, list[FrameResult]]
    best: list[ShownFrame]
    worst: list[ShownFrame]

    @property
    def methods(self) -> dict[str, list[FrameResult]]:
        """All results by the name of the solver, the localizer's own first."""
        return {self.solver: self.frames, **self.solvers}


def summary(frames: Sequence[FrameResult]) -> ErrorSummary:
    """Figures over all frames, lost ones included."""
    return summarize(
        np.array([frame.translation_error_m for frame in frames]),
        np.array([frame.rotation_error_deg for frame in frames]),
    )


@dataclass(frozen=True)
class Posed:
    """The frames that have a pose, as arrays.

    Attributes:
        errors: in the order of the covariances, (N, 6), metres and radians.
        covariances: (N, 6, 6).
        confidences: (N,).
    """

    errors: FloatArray
    covariances: FloatArray
    confidences: FloatArray


def posed(frames: Sequence[FrameResult]) -> Posed:
    """What the localized of these frames say of their own errors."""
    poses, estimates, covariances, confidences = [], [], [], []
    for frame in frames:
        if frame.estimated_pose is None or frame.covariance is None or frame.confidence is None:
            continue
        poses.append(frame.true_pose)
        estimates.append(frame.estimated_pose)
        covariances.append(frame.covariance)
        confidences.append(frame.confidence)
    return Posed(
        errors=pose_errors(
            np.reshape(np.array(poses, np.float64), (-1, 4, 4)),
            np.reshape(np.array(estimates, np.float64), (-1, 4, 4)),
        ),
        covariances=np.reshape(np.array(covariances, np.float64), (-1, 6, 6)),
        confidences=np.array(confidences, np.float64),
    )


def trust(frames: Sequence[FrameResult], min_confidence: float) -> TrustSummary:
    """How far covariances and confidences can be trusted.

    Args:
        frames: at least one.
        min_confidence: that of an accepted pose at least.
    """
    found = posed(frames)
    return summarize_trust(
        found.errors, found.covariances, found.confidences, min_confidence, len(frames)
    )


def stages_ms(frames: Sequence[FrameResult]) -> dict[str, float]:
    """Median milliseconds of every stage over the frames in which it took part.

    Args:
        frames: those that are lost are left out.

    Returns:
        By the names in PoseEstimate.timings, 'total' among them, and 'solving': what leads from
        the prediction to the pose. Empty where every frame is lost.
    """
    taken: dict[str, list[float]] = {}
    for frame in frames:
        stages = dict(frame.timings)
        if stages:
            stages['solving'] = sum(stages.get(stage, 0.0) for stage in SOLVING)
        for stage, seconds in stages.items():
            if seconds > 0.0:
                taken.setdefault(stage, []).append(1000.0 * seconds)
    return {stage: float(np.median(values)) for stage, values in taken.items()}


def worse_share(
    frames: Sequence[FrameResult], others: Sequence[FrameResult], factor: float = 1.1
) -> float:
    """Share of the frames whose position is off by more than `factor` times that of others.

    Args:
        frames: N, N > 0; a lost one is worse than any that is not.
        others: the same frames by another solver.
        factor: above 1.
    """
    errors, references = (
        np.array([frame.translation_error_m for frame in part]) for part in (frames, others)
    )
    return float(np.mean(errors > factor * references))
