"""What the worker does with one image, with a localizer that answers as told."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from pipeline_rig import Rig, at, broken, estimate, frames, raising

from implicit_loc.errors import AlignmentError
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pipeline import Frame
from implicit_loc_ros.pose_gate import Tracking
from implicit_loc_ros.views import View


@pytest.fixture
def frame(messages: SimpleNamespace) -> Frame:
    return Frame(messages.image(), messages.camera_info(), epoch=0)


def test_a_good_image_is_published_with_its_stamp(frame: Frame) -> None:
    rig = Rig(estimate)
    rig.pipeline.process(frame)
    assert [stamp for stamp, _ in rig.published] == [frame.message.header.stamp]
    values = rig.values()
    assert values['poses published'] == '1'
    assert values['network (ms)'] == '10.0'
    assert values['age of the image when published (ms)'] == '1000.0'
    assert not rig.lines


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [
        (raising(AlignmentError('degenerate')), 'alignment'),
        (broken(world_from_camera=np.full((4, 4), np.nan)), 'alignment'),
        (broken(world_from_camera=np.eye(4) * 2), 'alignment'),
        (broken(covariance=np.zeros((6, 6))), 'alignment'),
        (broken(confidence=0.1), 'confidence'),
        (broken(confidence=np.nan), 'confidence'),
        (raising(RuntimeError('CUDA error')), 'defect'),
    ],
)
def test_a_failure_is_counted_and_the_next_image_is_answered(
    messages: SimpleNamespace, frame: Frame, answer: Callable[[], Any], reason: str
) -> None:
    answers = [answer, estimate]
    rig = Rig(lambda: answers.pop(0)(), min_confidence=0.5)
    rig.pipeline.process(frame)
    assert not rig.published
    assert len(rig.lines) == 1
    values = rig.values()
    assert values[f'refused: {reason}'] == '1'
    assert values['last error']
    rig.pipeline.process(Frame(messages.image(2_000_000_000), frame.camera_info, epoch=0))
    assert len(rig.published) == 1


def test_a_defect_leaves_its_traceback_in_the_log(frame: Frame) -> None:
    rig = Rig(raising(RuntimeError('CUDA error')))
    rig.pipeline.process(frame)
    assert 'Traceback' in rig.lines[0]
    assert 'CUDA error' in rig.lines[0]


def test_a_bad_image_and_a_bad_camera_have_their_own_counters(messages: SimpleNamespace) -> None:
    rig = Rig(estimate)
    rig.pipeline.process(Frame(messages.image(encoding='?'), messages.camera_info(), 0))
    rig.pipeline.process(Frame(messages.image(), messages.camera_info(k=np.zeros(9)), 0))
    values = rig.values()
    assert (values['refused: image'], values['refused: camera']) == ('1', '1')


def test_a_failing_warm_up_is_logged_and_the_images_are_answered(frame: Frame) -> None:
    rig = Rig(estimate)
    # The rig's localizer has no warm_up.
    rig.pipeline.warm_up()
    assert 'the warm-up failed' in rig.lines[0]
    rig.pipeline.process(frame)
    assert len(rig.published) == 1


def test_an_image_is_answered_once(frame: Frame) -> None:
    rig = Rig(estimate)
    rig.pipeline.process(frame)
    rig.pipeline.process(frame)
    assert len(rig.published) == 1
    assert rig.values()['refused: stale'] == '1'


def test_an_image_from_before_a_time_jump_is_not_published(frame: Frame) -> None:
    rig = Rig(estimate)
    rig.stamp_gate.reset()
    rig.pipeline.process(frame)
    assert not rig.published


def test_a_missing_extrinsic_refuses_the_image(frame: Frame) -> None:
    rig = Rig(estimate)
    rig.missing = 'extrinsic'
    rig.pipeline.process(frame)
    assert not rig.published
    assert rig.values()['refused: transform'] == '1'


def test_missing_odometry_leaves_the_pose(frame: Frame) -> None:
    rig = Rig(estimate)
    rig.missing = 'no odometry'
    rig.pipeline.process(frame)
    assert len(rig.published) == 1
    assert rig.values()['poses without a transform'] == '1'
    assert rig.lines == ['no odometry']


def test_a_jump_is_refused_until_enough_agree_and_no_pose_comes_twice(
    messages: SimpleNamespace,
) -> None:
    answers = [at(0.0), at(0.0), *(at(30.0 + i / 100) for i in range(5))]
    rig = Rig(lambda: answers.pop(0), reopen_after=4)
    played = frames(messages, 7)
    for frame in played:
        rig.pipeline.process(frame)
    assert [stamp for stamp, _ in rig.published] == [
        played[i].message.header.stamp for i in (0, 1, 5, 6)
    ]
    assert [pose.map_from_body[0, 3] for _, pose in rig.published] == [0.0, 0.0, 30.03, 30.04]
    values = rig.values()
    assert values['refused: jump'] == '3'
    assert values['images refused'] == '3'
    assert values['last pose overruled'] == '1'
    assert any('the last pose is overruled: 4 poses agree' in line for line in rig.lines)


@pytest.mark.parametrize(
    'failure', [broken(confidence=0.1), raising(AlignmentError('degenerate')), raising(ValueError)]
)
def test_lost_is_entered_and_left_and_each_is_told_once(
    messages: SimpleNamespace, failure: Callable[[], Any]
) -> None:
    answers = [estimate, *[failure] * 20, estimate, estimate]
    rig = Rig(lambda: answers.pop(0)(), lost_after_s=1.0)
    states = []
    for frame in frames(messages, 23):
        rig.pipeline.process(frame)
        states.append(rig.pose_gate.state)
    tracking, lost = Tracking.TRACKING, Tracking.LOST
    assert states == [tracking] * 10 + [lost] * 11 + [tracking] * 2
    assert len(rig.published) == 3
    assert rig.news == ['WAITING -> TRACKING', 'LOST -> TRACKING']
    assert len([line for line in rig.lines if 'TRACKING -> LOST' in line]) == 1


def test_a_stale_pose_neither_counts_as_lost_nor_binds(messages: SimpleNamespace) -> None:
    answers = [at(0.0), at(50.0), at(0.1)]
    rig = Rig(lambda: answers.pop(0))
    first, second, third = frames(messages, 3)
    rig.pipeline.process(first)
    rig.pipeline.process(Frame(second.message, second.camera_info, epoch=-1))
    rig.pipeline.process(third)
    assert len(rig.published) == 2
    assert rig.values()['refused: stale'] == '1'


def test_poses_of_the_fallback_are_counted(messages: SimpleNamespace) -> None:
    answers = [estimate(used_consensus=used) for used in (False, True, True)]
    rig = Rig(lambda: answers.pop(0))
    for frame in frames(messages, 3):
        rig.pipeline.process(frame)
    assert rig.values()['poses from the consensus'] == '2'


def test_what_the_gate_demands_may_change_between_two_images(messages: SimpleNamespace) -> None:
    rig = Rig(lambda: estimate(confidence=0.4), min_confidence=0.5)
    first, second = frames(messages, 2)
    rig.pipeline.process(first)
    rig.parameters = Parameters(min_confidence=0.3)
    rig.pipeline.process(second)
    assert len(rig.published) == 1


def test_an_aligned_world_turns_pose_and_covariance(frame: Frame) -> None:
    # 90 degrees about z, and 2 m up.
    aligned = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])
    covariance = np.diag([1.0, 4.0, 9.0, 0.1, 0.2, 0.3]) * 1e-4
    shown = at(3.0)
    shown.covariance = covariance
    rig = Rig(lambda: shown, map_from_world=aligned)
    rig.pipeline.process(frame)
    ((_, pose),) = rig.published
    assert pose.map_from_body[:3, 3] == pytest.approx((0.0, 3.0, 2.0))
    turned = np.array([4.0, 1.0, 9.0, 0.2, 0.1, 0.3]) * 1e-4
    assert pose.covariance == pytest.approx(np.diag(turned))
    assert rig.values()['last standard deviation (m)'] == '0.030'


def test_callers_hear_what_became_of_their_image(messages: SimpleNamespace) -> None:
    rig = Rig(raising(AlignmentError('degenerate')))
    heard: list[tuple[bool, str]] = []
    first = rig.callers.image_arrived()
    rig.callers.ask(lambda success, text: heard.append((success, text)))
    second = rig.callers.image_arrived()
    played = frames(messages, 2)
    # An image that was there before the question is no answer.
    for frame, number in zip(played, (first, second), strict=True):
        assert not heard
        rig.pipeline.process(Frame(frame.message, frame.camera_info, 0, number))
    assert heard == [(False, 'alignment: degenerate')]


def test_views_show_accepted_and_refused_images(messages: SimpleNamespace) -> None:
    answers = [estimate, raising(AlignmentError('degenerate')), broken(confidence=0.1)]
    rig = Rig(lambda: answers.pop(0)())
    rig.watched = True
    for frame in frames(messages, 3):
        rig.pipeline.process(frame)
    assert [view.accepted for view in rig.views] == [True, False, False]
    assert [view.estimate is None for view in rig.views] == [False, True, False]
    assert rig.views[1].verdict == 'alignment: degenerate'


def test_a_view_that_fails_costs_no_pose(messages: SimpleNamespace) -> None:
    rig = Rig(estimate)

    def fail(make: Callable[[], View]) -> None:
        raise ValueError('cannot draw')

    rig.show = fail  # type: ignore[method-assign]
    for frame in frames(messages, 2):
        rig.pipeline.process(frame)
    assert len(rig.published) == 2
    assert ['cannot draw' in line for line in rig.lines] == [True]
    assert rig.values()['images refused'] == '0'


def test_an_image_of_an_old_epoch_answers_no_caller(messages: SimpleNamespace) -> None:
    answers = [estimate, raising(AlignmentError('degenerate')), estimate]
    rig = Rig(lambda: answers.pop(0)())
    heard: list[bool] = []
    rig.callers.ask(lambda success, text: heard.append(success))
    numbers = [rig.callers.image_arrived() for _ in range(3)]
    rig.stamp_gate.begin_epoch()
    for frame, number, epoch in zip(frames(messages, 3), numbers, (0, 0, 1), strict=True):
        assert not heard
        rig.pipeline.process(Frame(frame.message, frame.camera_info, epoch, number))
    assert heard == [True]


def test_a_world_is_placed_anew_between_two_images(messages: SimpleNamespace) -> None:
    rig = Rig(lambda: at(0.0), gate_timeout_s=0.0)
    first, late, second = frames(messages, 3)
    rig.pipeline.process(first)
    moved = np.eye(4)
    moved[0, 3] = 7.0
    rig.pipeline.realign(moved)
    rig.pipeline.process(late)
    rig.pipeline.process(Frame(second.message, second.camera_info, rig.stamp_gate.epoch))
    assert [pose.map_from_body[0, 3] for _, pose in rig.published] == [0.0, 7.0]
    assert rig.values()['refused: stale'] == '1'
