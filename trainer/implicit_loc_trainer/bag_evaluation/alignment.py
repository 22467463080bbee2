"""One rigid motion between the map and the truth, where both have worlds of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.world_alignment import PosePairs, fit

# An error of angle counts as the path that the tip of an axis of this length moves.
_LEVER_M = 1.0


@dataclass(frozen=True)
class WorldAlignment:
    """The motion that was applied to every estimate before it was compared.

    Attributes:
        truth_from_map: (4, 4), metres.
        poses: from how many it follows.
    """

    truth_from_map: FloatArray
    poses: int

    @property
    def distance_m(self) -> float:
        """Length of its translation, metres."""
        return float(np.linalg.norm(self.truth_from_map[:3, 3]))

    @property
    def angle_deg(self) -> float:
        """Angle of its rotation, degrees."""
        return float(rotation_error_deg(np.eye(4), self.truth_from_map))


def fit_alignment(frames: Sequence[FrameResult]) -> WorldAlignment:
    """The rigid motion, without scale, that brings the estimates closest to the true poses.

    Least squares of positions and of axes of 1 m: a drive along a line leaves nothing open.

    Args:
        frames: accepted ones: a single false pose turns the world.

    Raises:
        DataError: there is no pose.
    """
    pairs = [
        (frame.name, frame.estimated_pose, frame.true_pose)
        for frame in frames
        if frame.estimated_pose is not None
    ]
    if not pairs:
        raise DataError(
            '--align needs an accepted pose, and there is none: leave it out, or lower '
            '--min-confidence'
        )
    names, estimated, true = zip(*pairs, strict=True)
    found = fit(PosePairs(list(names), np.array(estimated), np.array(true)), _LEVER_M)
    return WorldAlignment(found.map_from_world, len(names))


def aligned(frames: Sequence[FrameResult], alignment: WorldAlignment) -> list[FrameResult]:
    """The same frames with their estimates, covariances included, in the world of the truth."""
    return [_aligned(frame, alignment.truth_from_map) for frame in frames]


def _aligned(frame: FrameResult, truth_from_map: FloatArray) -> FrameResult:
    if frame.estimated_pose is None:
        return frame
    pose = truth_from_map @ frame.estimated_pose
    covariance = frame.covariance
    if covariance is not None:
        # Its axes are those of the world, for the position as for the rotation.
        turn = np.kron(np.eye(2), truth_from_map[:3, :3])
        covariance = turn @ covariance @ turn.T
    return replace(
        frame,
        estimated_pose=pose,
        covariance=covariance,
        translation_error_m=float(translation_error_m(frame.true_pose, pose)),
        rotation_error_deg=float(rotation_error_deg(frame.true_pose, pose)),
    )
