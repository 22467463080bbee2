"""The advice follows from what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from known_localizer import KnownLocalizer, samples

from implicit_loc_trainer.report.measuring import measure
from implicit_loc_trainer.report.run_log import Curve
from implicit_loc_trainer.report.verdict import judge


def measured(held_out_m, known_m):
    """Frames that were learned from, and new ones, with these errors."""
    new = measure(KnownLocalizer(held_out_m), samples(9), samples(9), 9, lambda s, _: s)
    known = measure(KnownLocalizer(known_m), samples(9), samples(9), 9, lambda s, _: s)
    return replace(new, known=known.known)


def curve(values):
    return {'validation/median_translation_m': Curve(np.arange(len(values)), np.array(values))}


@pytest.mark.parametrize(
    ('errors', 'grade'), [([0.1], 'good'), ([0.1, 0.1, 0.9], 'usable'), ([0.9], 'poor')]
)
def test_the_grade_is_the_share_of_close_poses(errors, grade):
    assert judge(measured(errors, [0.05]), {}).grade == grade


def test_a_good_map_needs_no_advice():
    assert judge(measured([0.1], [0.05]), curve([9, 8, 7, 6, 5, 4])).advice == []


def test_errors_on_learned_frames_point_at_the_recording():
    assert 'implicit-loc check' in judge(measured([2.0], [1.5]), {}).advice[0]


def test_errors_on_new_frames_alone_ask_for_more_of_the_place():
    advice = judge(measured([0.8], [0.05]), {}).advice[0]
    assert 'record more of the place' in advice
    assert '0 cm and 0 deg from the nearest' in advice


def test_a_training_that_was_still_gaining_should_go_on():
    falling, flat = curve([9, 8, 7, 6, 5, 4]), curve([9, 5, 5, 5, 5, 5])
    assert any('more epochs' in line for line in judge(measured([0.8], [0.05]), falling).advice)
    assert not any('more epochs' in line for line in judge(measured([0.8], [0.05]), flat).advice)


def test_good_world_points_under_bad_poses_point_at_the_depth():
    """PnP on the exact world points of the known localizer has no error."""
    assert any('--network.far' in line for line in judge(measured([0.8], [0.05]), {}).advice)


def test_lost_frames_are_told_with_their_reason():
    verdict = judge(measured([None, 0.1], [0.05]), {})
    assert 'AlignmentError: all weights are zero' in verdict.advice[0]
    assert 'gave no pose' in verdict.headline
    assert verdict.grade == 'poor'
    assert 'infinite' in judge(measured([None], [None]), {}).headline
