"""What all frames of a bag say together: what a robot would have got."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.evaluation.frames import FrameResult, summary, trust
from implicit_loc_trainer.evaluation.metrics import CORRECT, ErrorSummary, json_figures, quantile


@dataclass(frozen=True)
class AcceptedErrors:
    """Errors of the accepted poses alone, metres and degrees; NaN where there are none."""

    accepted_median_translation_m: float = math.nan
    accepted_median_rotation_deg: float = math.nan
    accepted_mean_translation_m: float = math.nan
    accepted_mean_rotation_deg: float = math.nan
    accepted_rmse_translation_m: float = math.nan
    accepted_rmse_rotation_deg: float = math.nan
    accepted_p95_translation_m: float = math.nan
    accepted_p95_rotation_deg: float = math.nan
    accepted_max_translation_m: float = math.nan
    accepted_max_rotation_deg: float = math.nan


@dataclass(frozen=True)
class Service:
    """What a robot gets, and what it costs.

    Attributes:
        rmse_translation_m: over all frames, metres; infinite as soon as one has no pose.
        rmse_rotation_deg: likewise, degrees.
        availability: share of the frames with an accepted pose.
        longest_outage_s: longest time without one, seconds.
        false_accepts: accepted poses that are off by more than 25 cm or 10 deg.
        false_accept_rate: their share of the accepted poses; NaN where there are none.
        nees_mean: of the accepted poses; 6 is ideal, more is overconfident.
        coverage90_translation: share of the accepted poses within the 90 % ellipsoid of their
            covariance, position.
        coverage90_rotation: the same for the rotation.
        latency_p50_ms: from decoded image to pose, of the frames that have one.
        latency_p95_ms: likewise.
        latency_p99_ms: likewise.
    """

    rmse_translation_m: float
    rmse_rotation_deg: float
    availability: float
    longest_outage_s: float
    false_accepts: int
    false_accept_rate: float
    nees_mean: float
    coverage90_translation: float
    coverage90_rotation: float
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float


@dataclass(frozen=True)
class BagFigures:
    """Figures of a bag; docs/evaluate_bag.md says what each means.

    Attributes:
        errors: over all frames, those without a pose being infinitely wrong.
        service: what a robot gets.
        accepted: errors of the poses that it gets.
        rejected: how many frames gave none, by the reason, most frequent first.
    """

    errors: ErrorSummary
    service: Service
    accepted: AcceptedErrors
    rejected: dict[str, int]

    @property
    def numbers(self) -> dict[str, float]:
        """All figures that are one number, by name."""
        return {**asdict(self.errors), **asdict(self.service), **asdict(self.accepted)}

    def as_json(self) -> dict[str, Any]:
        """The figures by name, with None for those that are infinite or NaN."""
        return {**json_figures(self.numbers), 'rejected': self.rejected}


# The names that a requirement may compare.
FIGURE_NAMES = tuple(
    field.name for part in (ErrorSummary, Service, AcceptedErrors) for field in fields(part)
)


def bag_figures(frames: Sequence[FrameResult], min_confidence: float) -> BagFigures:
    """Sums up the frames of a bag.

    Args:
        frames: at least one, in the order of time.
        min_confidence: that of an accepted pose at least.
    """
    reasons = [rejection(frame, min_confidence) for frame in frames]
    accepted = [frame for frame, reason in zip(frames, reasons, strict=True) if not reason]
    metres, degrees = _errors(frames)
    false = sum(
        frame.translation_error_m > CORRECT[0] or frame.rotation_error_deg > CORRECT[1]
        for frame in accepted
    )
    outage = longest_outage_s(
        [frame.timestamp for frame in frames], [not reason for reason in reasons]
    )
    trusted = trust(frames, min_confidence)
    p50, p95, p99 = _latencies_ms(frames)
    return BagFigures(
        errors=summary(frames),
        service=Service(
            rmse_translation_m=_root_mean_square(metres),
            rmse_rotation_deg=_root_mean_square(degrees),
            availability=len(accepted) / len(frames),
            longest_outage_s=outage,
            false_accepts=false,
            false_accept_rate=false / len(accepted) if accepted else math.nan,
            nees_mean=trusted.nees_mean,
            coverage90_translation=trusted.coverage90_translation,
            coverage90_rotation=trusted.coverage90_rotation,
            latency_p50_ms=p50,
            latency_p95_ms=p95,
            latency_p99_ms=p99,
        ),
        accepted=_accepted_errors(accepted),
        rejected=dict(Counter(reason for reason in reasons if reason).most_common()),
    )


def longest_outage_s(timestamps: Sequence[float], accepted: Sequence[bool]) -> float:
    """The longest time without a pose: between two frames that have one, or from the ends.

    Args:
        timestamps: (N,) seconds, in their order, N > 0.
        accepted: (N,) whether the frame has an accepted pose.

    Returns:
        Seconds; 0 where every frame has a pose, however far apart the frames are.
    """
    longest, last, is_open = 0.0, timestamps[0], False
    for timestamp, has_pose in zip(timestamps, accepted, strict=True):
        if is_open or not has_pose:
            longest = max(longest, timestamp - last)
        if has_pose:
            last = timestamp
        is_open = not has_pose
    return longest


def _accepted_errors(frames: Sequence[FrameResult]) -> AcceptedErrors:
    if not frames:
        return AcceptedErrors()
    metres, degrees = _errors(frames)
    return AcceptedErrors(
        accepted_median_translation_m=quantile(metres, 0.5),
        accepted_median_rotation_deg=quantile(degrees, 0.5),
        accepted_mean_translation_m=float(metres.mean()),
        accepted_mean_rotation_deg=float(degrees.mean()),
        accepted_rmse_translation_m=_root_mean_square(metres),
        accepted_rmse_rotation_deg=_root_mean_square(degrees),
        accepted_p95_translation_m=quantile(metres, 0.95),
        accepted_p95_rotation_deg=quantile(degrees, 0.95),
        accepted_max_translation_m=float(metres.max()),
        accepted_max_rotation_deg=float(degrees.max()),
    )


def _errors(frames: Sequence[FrameResult]) -> tuple[FloatArray, FloatArray]:
    """Metres and degrees, (N,) each; infinite where there is no pose."""
    return (
        np.array([frame.translation_error_m for frame in frames], dtype=np.float64),
        np.array([frame.rotation_error_deg for frame in frames], dtype=np.float64),
    )


def _root_mean_square(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _latencies_ms(frames: Sequence[FrameResult]) -> tuple[float, float, float]:
    taken = [1000.0 * frame.timings['total'] for frame in frames if frame.timings]
    if not taken:
        return math.nan, math.nan, math.nan
    p50, p95, p99 = (float(value) for value in np.percentile(taken, (50, 95, 99)))
    return p50, p95, p99
