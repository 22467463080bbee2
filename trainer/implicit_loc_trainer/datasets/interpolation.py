"""Poses between the stamps at which they were measured, and the choice of keyframes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from implicit_loc_trainer.datasets.parsing import FloatArray

# A measurement this close to a stamp is taken as it is, whatever the gap to the next one.
_SAME_TIME_S = 1e-4

# Metres and degrees: equal steps must not fall below the limit by rounding.
_STEP_TOLERANCE = 1e-6


@dataclass(frozen=True)
class PoseTrack:
    """A moving frame, measured now and then.

    Attributes:
        times: (N,) seconds, increasing strictly, N >= 1.
        transforms: (N, 4, 4) rigid.
    """

    times: FloatArray
    transforms: FloatArray

    @classmethod
    def from_measurements(
        cls, times: Sequence[float] | FloatArray, transforms: Sequence[FloatArray] | FloatArray
    ) -> 'PoseTrack':
        """Sorts measurements by time; of several at one time the first counts.

        Args:
            times: N >= 1, seconds.
            transforms: N of (4, 4).
        """
        unique, first = np.unique(np.asarray(times, dtype=np.float64), return_index=True)
        return cls(unique, np.asarray(transforms)[first])

    def at(self, times: FloatArray, max_gap_s: float) -> tuple[FloatArray, NDArray[np.bool_]]:
        """The transforms at some times: positions linearly, rotations along the great arc.

        Args:
            times: (M,) seconds, any order.
            max_gap_s: between the measurements before and after a time.

        Returns:
            (M, 4, 4), and (M,) whether it is known: no extrapolation, no wider gap.
        """
        after = np.clip(np.searchsorted(self.times, times), 0, len(self.times) - 1)
        before = np.clip(after - 1, 0, None)
        nearest = np.where(
            np.abs(self.times[before] - times) < np.abs(self.times[after] - times), before, after
        )
        exact = np.abs(self.times[nearest] - times) <= _SAME_TIME_S
        inside = (times >= self.times[0]) & (times <= self.times[-1])
        known = exact | (inside & (self.times[after] - self.times[before] <= max_gap_s))
        transforms = np.tile(np.eye(4), (len(times), 1, 1))
        if len(self.times) > 1:
            clipped = np.clip(times, self.times[0], self.times[-1])
            slerp = Slerp(self.times, Rotation.from_matrix(self.transforms[:, :3, :3]))
            transforms[:, :3, :3] = slerp(clipped).as_matrix()
            for axis in range(3):
                positions = self.transforms[:, axis, 3]
                transforms[:, axis, 3] = np.interp(clipped, self.times, positions)
        transforms[exact] = self.transforms[nearest[exact]]
        return transforms, known


def keyframes(
    world_from_camera: Sequence[FloatArray], distance_m: float, angle_deg: float
) -> list[int]:
    """Indices of the frames that moved or turned enough since the last one that was kept.

    Args:
        world_from_camera: N of (4, 4), metres, in the order of time.
        distance_m: kept from here on; 0 keeps all.
        angle_deg: likewise.
    """
    kept: list[int] = []
    for index, pose in enumerate(world_from_camera):
        if not kept:
            kept.append(index)
            continue
        last = world_from_camera[kept[-1]]
        distance = float(np.linalg.norm(pose[:3, 3] - last[:3, 3]))
        cosine = (float(np.trace(last[:3, :3].T @ pose[:3, :3])) - 1.0) / 2.0
        angle = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
        if distance > distance_m - _STEP_TOLERANCE or angle > angle_deg - _STEP_TOLERANCE:
            kept.append(index)
    return kept
