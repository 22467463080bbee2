"""The motion between two worlds is found, taken out, and refused where it is open."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from known_localizer import pose
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.bag_evaluation.alignment import (
    WorldAlignment,
    aligned,
    fit_alignment,
)
from implicit_loc_trainer.bag_evaluation.remarks import remarks
from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.datasets.parsing import inverse
from implicit_loc_trainer.evaluation.frames import FrameResult


def moved(motion: np.ndarray) -> list[FrameResult]:
    """Frames whose estimates are true in a world of their own."""
    spread = np.diag([1.0, 4.0, 9.0, 1e-2, 2e-2, 3e-2])
    return [
        FrameResult(
            str(i), i / 10, pose(i), inverse(motion) @ pose(i), spread, 9.0, 9.0, confidence=0.9
        )
        for i in range(12)
    ]


@pytest.fixture
def motion() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', (10, -20, 130), degrees=True).as_matrix()
    matrix[:3, 3] = (3, -2, 0.5)
    return matrix


def test_a_known_motion_is_found_and_taken_out(motion: np.ndarray) -> None:
    frames = moved(motion)
    alignment = fit_alignment(frames)
    np.testing.assert_allclose(alignment.truth_from_map, motion, atol=1e-6)
    assert alignment.distance_m == pytest.approx(np.linalg.norm(motion[:3, 3]))
    for frame in aligned(frames, alignment):
        assert frame.translation_error_m < 1e-6
        assert frame.rotation_error_deg < 1e-4


def test_covariances_turn_with_the_world(motion: np.ndarray) -> None:
    frames = moved(motion)
    (frame, *_) = aligned(frames, fit_alignment(frames))
    before, after, turn = frames[0].covariance, frame.covariance, motion[:3, :3]
    np.testing.assert_allclose(after[:3, :3], turn @ before[:3, :3] @ turn.T, atol=1e-6)
    np.testing.assert_allclose(after[3:, 3:], turn @ before[3:, 3:] @ turn.T, atol=1e-6)


def test_a_lost_frame_stays_lost(motion: np.ndarray) -> None:
    frames = moved(motion)
    lost = FrameResult('lost', 2.0, pose(3), lost_reason='no pose')
    assert aligned([*frames, lost], fit_alignment(frames))[-1] is lost


def test_a_drive_along_a_line_leaves_nothing_open(motion: np.ndarray) -> None:
    line = []
    for i, frame in enumerate(moved(motion)):
        true = frame.true_pose.copy()
        true[:3, 3] = (i, 2 * i, 0)
        line.append(replace(frame, true_pose=true, estimated_pose=inverse(motion) @ true))
    np.testing.assert_allclose(fit_alignment(line).truth_from_map, motion, atol=1e-6)


def compared(frames: list[FrameResult]) -> list[FrameResult]:
    """With the errors of the estimates as they are."""
    return aligned(frames, WorldAlignment(np.eye(4), 0))


def remarks_of(frames: list[FrameResult], alignment: WorldAlignment | None = None) -> list[str]:
    source: Any = SimpleNamespace(without_truth=0, without_stamp=0, out_of_order=0)
    return remarks(source, frames, 0.5, alignment)


def test_large_errors_that_one_motion_explains_are_told_with_what_helps(
    motion: np.ndarray,
) -> None:
    frames = compared(moved(motion))
    (told,) = remarks_of(frames)
    assert f'{100 * np.linalg.norm(motion[:3, 3]):.1f} cm' in told
    assert '--align' in told
    assert 'align-world' in told
    # Poses that nobody accepts do not count, and what was taken out needs no word.
    doubted = [replace(frame, confidence=0.1) for frame in frames]
    assert not remarks_of(doubted)
    assert not remarks_of(frames, WorldAlignment(motion, 12))


def test_errors_that_are_small_or_vary_are_no_offset(motion: np.ndarray) -> None:
    small = np.eye(4)
    small[:3, 3] = (0.1, 0.0, 0.0)
    assert not remarks_of(compared(moved(small)))
    random = np.random.default_rng(0)
    varying = []
    for frame in moved(np.eye(4)):
        estimate = frame.true_pose.copy()
        estimate[:3, 3] += random.normal(0, 2, 3)
        varying.append(replace(frame, estimated_pose=estimate))
    assert not remarks_of(compared(varying))


def test_without_an_accepted_pose_there_is_nothing_to_align() -> None:
    with pytest.raises(DataError, match='needs an accepted pose'):
        fit_alignment([])
