"""A running node is told what to do: pause, look once, look less often."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('lifecycle_msgs', reason='lifecycle_msgs is not installed')
pytest.importorskip('std_srvs', reason='std_srvs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_srvs.srv import SetBool, Trigger

from implicit_loc.errors import AlignmentError
from implicit_loc.localizer import Localizer
from implicit_loc_ros import waiting_callers

Start = Callable[..., Any]


def show(peer: Any, messages: Any, count: int = 1) -> None:
    """Send images with their CameraInfo, without expecting anything."""
    peer.wait_for_subscriber(peer.images)
    peer.wait_for_subscriber(peer.camera_infos)
    for _ in range(count):
        peer.camera_infos.publish(messages.camera_info())
        time.sleep(0.1)
        peer.images.publish(messages.image(peer.next_stamp()))
        time.sleep(0.05)


def enable(peer: Any, wanted: bool) -> Any:
    return peer.call(SetBool, 'enable', SetBool.Request(data=wanted))


def look_once(peer: Any) -> Any:
    """The future answer of ~/localize_once, once the node knows of the call."""
    future = peer.ask(Trigger, 'localize_once', Trigger.Request())
    time.sleep(0.3)
    return future


def answer(peer: Any, future: Any) -> Any:
    return peer.wait(lambda: future.done() and future.result(), 'an answer')


def change(peer: Any, transition: int) -> None:
    request = ChangeState.Request(transition=Transition(id=transition))
    assert peer.call(ChangeState, 'change_state', request).success


def test_a_paused_node_publishes_nothing_and_goes_on_when_told(
    start: Start, messages: Any
) -> None:
    peer = start()
    peer.localize()
    paused = enable(peer, False)
    assert paused.success
    assert 'paused' in paused.message
    assert 'already' in enable(peer, False).message
    show(peer, messages, 3)
    counters = peer.counters()
    assert (len(peer.poses), counters['skipped: paused']) == (1, '3')

    def is_well() -> bool:
        # Without images for two seconds there would be a warning.
        show(peer, messages, 1)
        return bool(peer.statuses[-1].level == DiagnosticStatus.OK)

    # The report of the second in which it was paused may still tell of the pose before.
    peer.counters()
    peer.wait(is_well, 'a good report')
    assert peer.statuses[-1].message.startswith('PAUSED')
    once = peer.call(Trigger, 'localize_once', Trigger.Request())
    assert not once.success
    assert 'paused' in once.message
    assert enable(peer, True).success
    peer.localize()


def test_on_demand_only_the_image_that_was_asked_for_is_answered(
    start: Start, messages: Any
) -> None:
    peer = start(mode='on_demand')
    show(peer, messages, 3)
    assert not peer.poses
    assert peer.counters()['skipped: on demand'] == '3'
    asked = look_once(peer)
    show(peer, messages, 3)
    told = answer(peer, asked)
    assert told.success
    assert 'in map, confidence' in told.message
    assert len(peer.poses) == 1
    x, y, z = (getattr(peer.poses[0].pose.position, axis) for axis in 'xyz')
    assert told.message.startswith(f'at ({x:.2f}, {y:.2f}, {z:.2f}) m')


def test_all_who_ask_are_answered_by_the_next_image(start: Start, messages: Any) -> None:
    peer = start(mode='on_demand')
    futures = [look_once(peer) for _ in range(3)]
    show(peer, messages, 1)
    assert all(answer(peer, future).success for future in futures)
    assert len(peer.poses) == 1


def test_while_a_caller_waits_the_node_goes_on(start: Start, messages: Any) -> None:
    peer = start(mode='on_demand')
    asked = look_once(peer)
    peer.counters()
    assert peer.call(Trigger, 'reset', Trigger.Request()).success
    assert not asked.done()
    show(peer, messages)
    assert answer(peer, asked).success


def test_a_caller_hears_why_there_is_no_pose(
    start: Start, messages: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start()
    asked = look_once(peer)
    peer.images.publish(messages.image(0))
    assert 'no pose: no stamp: its stamp is 0' in answer(peer, asked).message

    def fail(*arguments: Any) -> None:
        raise AlignmentError('the cells determine no pose')

    monkeypatch.setattr(Localizer, 'localize', fail)
    asked = look_once(peer)
    show(peer, messages)
    told = answer(peer, asked)
    assert not told.success
    assert told.message == 'no pose: alignment: the cells determine no pose'


def test_a_caller_without_images_is_answered_in_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_callers, 'LONGEST_WAIT_S', 0.5)
    peer = start()
    future = peer.ask(Trigger, 'localize_once', Trigger.Request())
    began = time.monotonic()
    told = peer.wait(lambda: future.done() and future.result(), 'an answer')
    assert not told.success
    assert '/image' in told.message
    assert time.monotonic() - began < 4.0


def test_services_answer_a_node_that_is_not_active(start: Start) -> None:
    peer = start()
    asked = look_once(peer)
    change(peer, Transition.TRANSITION_DEACTIVATE)
    assert answer(peer, asked).message == 'no pose: the node was deactivated'
    shutdown = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN
    for transition in (None, Transition.TRANSITION_CLEANUP, shutdown):
        if transition is not None:
            change(peer, transition)
        for told in (
            peer.call(Trigger, 'localize_once', Trigger.Request()),
            enable(peer, True),
            enable(peer, False),
        ):
            assert not told.success
            assert told.message.startswith('the node is not active')
        assert peer.call(Trigger, 'reset', Trigger.Request()).success


def test_activation_ends_a_pause(start: Start) -> None:
    peer = start()
    enable(peer, False)
    change(peer, Transition.TRANSITION_DEACTIVATE)
    change(peer, Transition.TRANSITION_ACTIVATE)
    peer.localize()


def test_a_rate_is_kept_and_what_it_leaves_out_is_no_fault(start: Start, messages: Any) -> None:
    # The images are 100 ms apart.
    peer = start(max_rate='2.5')
    show(peer, messages, 9)
    peer.wait(lambda: len(peer.poses) == 3, 'the poses')
    stamps = [p.header.stamp.sec + p.header.stamp.nanosec / 1e9 for p in peer.poses]
    assert np.diff(stamps) == pytest.approx([0.4, 0.4])
    counters = peer.counters()
    assert (counters['skipped: max_rate'], counters['images refused']) == ('6', '0')
