"""Errors of estimated poses, and how a set of them is summed up.

Frames without a pose are part of every figure: their errors are infinite. A method can therefore
not look better by refusing the difficult frames.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Metres and degrees within which a pose is called correct, and beyond which it misleads a robot.
CORRECT = (0.25, 10.0)
GROSS = (1.0, 20.0)


def translation_error_m(true: FloatArray, estimated: FloatArray) -> FloatArray:
    """Distance between camera centres, |t - t*|.

    Args:
        true: world_from_camera, (..., 4, 4), metres.
        estimated: world_from_camera in the same world, (..., 4, 4), metres.

    Returns:
        (...) metres.
    """
    return np.asarray(np.linalg.norm(estimated[..., :3, 3] - true[..., :3, 3], axis=-1))


def rotation_error_deg(true: FloatArray, estimated: FloatArray) -> FloatArray:
    """Angle of the rotation between two poses.

    Args:
        true: world_from_camera, (..., 4, 4).
        estimated: world_from_camera in the same world, (..., 4, 4).

    Returns:
        (...) degrees in [0, 180].
    """
    between = np.swapaxes(true[..., :3, :3], -1, -2) @ estimated[..., :3, :3]
    twice_sine_axis = np.stack(
        (
            between[..., 2, 1] - between[..., 1, 2],
            between[..., 0, 2] - between[..., 2, 0],
            between[..., 1, 0] - between[..., 0, 1],
        ),
        axis=-1,
    )
    twice_cosine = np.trace(between, axis1=-2, axis2=-1) - 1.0
    # arccos of the trace alone loses half of the digits at small angles; atan2 keeps them all.
    angle = np.arctan2(np.linalg.norm(twice_sine_axis, axis=-1), twice_cosine)
    return np.asarray(np.degrees(angle), dtype=np.float64)


def quantile(errors: FloatArray, fraction: float) -> float:
    """Linearly interpolated quantile of values that may be infinite.

    Args:
        errors: (N,), N > 0, not NaN.
        fraction: in [0, 1]; 0.5 gives the median.

    Returns:
        In the unit of the errors; infinite where an infinite value takes part.
    """
    ordered = np.sort(errors)
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    share = position - low
    # numpy's own interpolation computes inf - inf and 0 * inf, which are NaN.
    if share == 0.0 or ordered[low] == np.inf:
        return float(ordered[low])
    return float((1.0 - share) * ordered[low] + share * ordered[low + 1])


@dataclass(frozen=True)
class ErrorSummary:
    """Figures over all frames, those without a pose counted as infinitely wrong.

    `frames` counts all frames and `lost` those without a pose; errors are in metres and degrees,
    recalls and gross failures are shares of all frames, in [0, 1]. The mean is infinite as soon
    as one frame is lost. A gross failure is off by more than 1 m or 20 deg, or lost.
    """

    frames: int
    lost: int
    median_translation_m: float
    median_rotation_deg: float
    mean_translation_m: float
    mean_rotation_deg: float
    p95_translation_m: float
    p95_rotation_deg: float
    recall_5cm_5deg: float
    recall_10cm_5deg: float
    recall_25cm_10deg: float
    # Trainings that were interrupted before this figure existed kept the others.
    gross_failures: float = math.nan

    def as_json(self) -> dict[str, float | None]:
        """The figures by name; see `json_figures`."""
        return json_figures(dataclasses.asdict(self))


def json_figures(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures with None for those that are infinite or NaN, since JSON knows neither."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def summarize(translation_m: FloatArray, rotation_deg: FloatArray) -> ErrorSummary:
    """Sums up the errors of all frames.

    Args:
        translation_m: (N,) metres; not finite where the frame has no pose.
        rotation_deg: (N,) degrees; not finite where the frame has no pose.

    Raises:
        ValueError: there is no frame, or the two differ in length.
    """
    translation_m = np.asarray(translation_m, dtype=np.float64)
    rotation_deg = np.asarray(rotation_deg, dtype=np.float64)
    if translation_m.ndim != 1 or translation_m.shape != rotation_deg.shape:
        raise ValueError(
            f'errors must be two lists of one length: {translation_m.shape}, {rotation_deg.shape}'
        )
    if len(translation_m) == 0:
        raise ValueError('no frames to sum up')
    lost = ~(np.isfinite(translation_m) & np.isfinite(rotation_deg))
    translation_m = np.where(lost, np.inf, translation_m)
    rotation_deg = np.where(lost, np.inf, rotation_deg)

    def within(metres: float, degrees: float) -> NDArray[np.bool_]:
        return np.asarray((translation_m <= metres) & (rotation_deg <= degrees))

    return ErrorSummary(
        frames=len(lost),
        lost=int(lost.sum()),
        median_translation_m=quantile(translation_m, 0.5),
        median_rotation_deg=quantile(rotation_deg, 0.5),
        mean_translation_m=float(np.mean(translation_m)),
        mean_rotation_deg=float(np.mean(rotation_deg)),
        p95_translation_m=quantile(translation_m, 0.95),
        p95_rotation_deg=quantile(rotation_deg, 0.95),
        recall_5cm_5deg=float(within(0.05, 5.0).mean()),
        recall_10cm_5deg=float(within(0.10, 5.0).mean()),
        recall_25cm_10deg=float(within(*CORRECT).mean()),
        gross_failures=float((~within(*GROSS)).mean()),
    )
