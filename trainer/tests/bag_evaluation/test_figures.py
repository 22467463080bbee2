"""The figures of a bag mean what they say."""

import math

import numpy as np
import pytest
from drive_localizer import true_pose

from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_evaluation.figures import (
    FIGURE_NAMES,
    bag_figures,
    longest_outage_s,
)
from implicit_loc_trainer.evaluation.frames import FrameResult


def frame(index: int, error_m: float = 0.0, confidence: float = 0.9) -> FrameResult:
    estimated = true_pose(index)
    estimated[0, 3] += error_m
    return FrameResult(
        f'{index:06d}',
        0.1 * index,
        true_pose(index),
        estimated,
        covariance=1e-4 * np.eye(6),
        translation_error_m=error_m,
        rotation_error_deg=0.0,
        timings={'total': 0.001 * (index + 1)},
        confidence=confidence,
    )


def lost(index: int, reason: str = 'AlignmentError: all weights are zero') -> FrameResult:
    return FrameResult(f'{index:06d}', 0.1 * index, true_pose(index), lost_reason=reason)


@pytest.mark.parametrize(
    ('accepted', 'seconds'),
    [
        ('yyyy', 0.0),
        ('ynyy', 2.0),
        ('ynny', 3.0),
        ('nnyy', 2.0),
        ('yynn', 2.0),
        ('nnnn', 3.0),
        ('ynyn', 2.0),
        ('y', 0.0),
        ('n', 0.0),
    ],
)
def test_an_outage_lasts_from_pose_to_pose(accepted: str, seconds: float) -> None:
    flags = [letter == 'y' for letter in accepted]
    assert longest_outage_s(list(map(float, range(len(flags)))), flags) == seconds


def test_every_reason_of_a_rejection_is_told_apart() -> None:
    unsure = frame(0, confidence=0.3)
    unknown = frame(0, confidence=math.nan)
    for result, reason in (
        (frame(0), ''),
        (unsure, 'confidence'),
        (unknown, 'confidence'),
        (lost(0), 'alignment'),
        (lost(0, 'the pose is not finite'), 'alignment'),
        (lost(0, 'DataError: cannot decode'), 'image'),
        (lost(0, 'ImageError: wrong size'), 'image'),
        (lost(0, 'CameraError: aspect'), 'camera'),
        (lost(0, 'ImplicitLocError: whatever'), 'other'),
    ):
        assert rejection(result, 0.5) == reason
    assert rejection(unsure, 0.3) == ''


def test_figures_over_all_frames_and_over_the_accepted_ones() -> None:
    frames = [frame(0, 0.1), frame(1, 0.3), frame(2, 2.0, confidence=0.1), lost(3), frame(4, 0.2)]
    figures = bag_figures(frames, 0.5)
    numbers = figures.numbers
    assert tuple(numbers) == FIGURE_NAMES
    assert figures.rejected == {'confidence': 1, 'alignment': 1}
    assert (numbers['frames'], numbers['lost'], numbers['availability']) == (5, 1, 0.6)
    assert (numbers['false_accepts'], numbers['false_accept_rate']) == (1, pytest.approx(1 / 3))
    assert numbers['longest_outage_s'] == pytest.approx(0.3)
    assert numbers['median_translation_m'] == pytest.approx(0.3)
    assert numbers['rmse_translation_m'] == math.inf
    assert numbers['accepted_median_translation_m'] == pytest.approx(0.2)
    assert numbers['accepted_mean_translation_m'] == pytest.approx(0.2)
    assert numbers['accepted_rmse_translation_m'] == pytest.approx(math.sqrt(0.14 / 3))
    assert numbers['accepted_max_translation_m'] == pytest.approx(0.3)
    # Of the squared errors 100, 900 and 400 in units of the variance.
    assert numbers['nees_mean'] == pytest.approx(1400 / 3)
    assert numbers['latency_p50_ms'] == pytest.approx(2.5)
    values = figures.as_json()
    assert values['rmse_translation_m'] is None
    assert values['rejected'] == {'confidence': 1, 'alignment': 1}


def test_without_any_pose_there_are_figures_all_the_same() -> None:
    numbers = bag_figures([lost(0), lost(1)], 0.5).numbers
    assert numbers['availability'] == 0.0
    assert numbers['longest_outage_s'] == pytest.approx(0.1)
    assert math.isnan(numbers['false_accept_rate'])
    assert math.isnan(numbers['latency_p99_ms'])
    assert math.isnan(numbers['accepted_rmse_rotation_deg'])
