"""What the poses say by themselves: steps, speeds, and where they leap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

FloatArray = NDArray[np.float64]

# A step beyond this many times those around it is a leap.
_LEAP = 6.0
_WINDOW = 31

# Frames further apart than this many usual intervals do not follow each other.
_GAP_INTERVALS = 3.5


@dataclass(frozen=True)
class Steps:
    """From each frame to the next one.

    Attributes:
        first: (K,) frames that have a successor in the same split, without a gap in time.
        distance: (K,) in the unit of the poses, metres if they are right.
        angle: (K,) radians.
        seconds: (K,) between the stamps.
        leap: (K,) how many times the limit of a usual step; above 1 it is a leap.
    """

    first: NDArray[np.intp]
    distance: FloatArray
    angle: FloatArray
    seconds: FloatArray
    leap: FloatArray

    @property
    def speed(self) -> float:
        """Median over the steps in which the camera moved, metres a second; NaN without any."""
        moved = self.distance > 0
        return float(np.median((self.distance / self.seconds)[moved])) if moved.any() else np.nan


def steps_of(
    world_from_camera: FloatArray, timestamps: FloatArray, split: NDArray[np.intp]
) -> Steps:
    """The steps of a recording.

    Args:
        world_from_camera: (N, 4, 4).
        timestamps: (N,) seconds.
        split: (N,) frames of different splits do not follow each other.
    """
    seconds = np.diff(timestamps)
    follows = (np.diff(split) == 0) & (seconds > 0)
    if follows.any():
        follows &= seconds <= _GAP_INTERVALS * np.median(seconds[follows])
    first = np.flatnonzero(follows)
    before, after = world_from_camera[first], world_from_camera[first + 1]
    distance = np.linalg.norm(after[:, :3, 3] - before[:, :3, 3], axis=1)
    angle = angles_between(before[:, :3, :3], after[:, :3, :3])
    seconds = seconds[first]
    leap = np.maximum(_leaps(distance / seconds), _leaps(angle / seconds))
    return Steps(first, distance, angle, seconds, leap)


def angles_between(first: FloatArray, second: FloatArray) -> FloatArray:
    """Angles between rotations (..., 3, 3) in radians, (...)."""
    # The chord of two rotations: exact for small angles, where the trace's arccos is not.
    chord = np.linalg.norm(first - second, axis=(-2, -1)) / np.sqrt(8.0)
    return 2.0 * np.arcsin(np.clip(chord, 0.0, 1.0))


def _leaps(rates: FloatArray) -> FloatArray:
    """Rates over what is usual around them and in the whole recording."""
    if not len(rates):
        return rates
    around = median_filter(rates, size=min(_WINDOW, len(rates)), mode='nearest')
    usual = np.maximum(around, np.median(rates))
    # Some recordings have few large values without a fault: nothing below twice the 90th counts.
    limit = np.maximum(_LEAP * usual, 2.0 * np.percentile(rates, 90.0))
    return np.divide(rates, limit, out=np.zeros_like(rates), where=limit > 0)
