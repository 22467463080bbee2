"""Time that jumps, loops, stands still or runs ahead: the node goes on, and no pose is stale."""

import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('rosgraph_msgs', reason='rosgraph_msgs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock

Start = Callable[..., Any]
SECOND = 1_000_000_000


def nanoseconds(message: Any) -> int:
    return int(message.header.stamp.sec) * SECOND + int(message.header.stamp.nanosec)


def answered(peer: Any, messages: Any, stamp: int) -> None:
    """An image of this stamp has a pose and a transform of the same stamp, once."""
    poses, transforms = len(peer.poses), len(peer.transforms)
    peer.wait_for_subscriber(peer.images)
    peer.wait_for_subscriber(peer.camera_infos)
    peer.camera_infos.publish(messages.camera_info())
    # Topics have no order among each other.
    time.sleep(0.1)
    peer.images.publish(messages.image(stamp))
    peer.wait(lambda: len(peer.poses) > poses, f'the pose of {stamp}')
    peer.wait(lambda: len(peer.transforms) > transforms, f'the transform of {stamp}')
    time.sleep(0.1)
    assert [nanoseconds(pose) for pose in peer.poses[poses:]] == [stamp]
    assert [nanoseconds(transform) for transform in peer.transforms[transforms:]] == [stamp]


def warned(peer: Any, words: str) -> Any:
    """A report of the node that says this."""
    return peer.wait(lambda: [s for s in list(peer.statuses) if words in s.message], words)[0]


def test_a_bag_that_loops_is_answered_each_time(start: Start, messages: Any) -> None:
    peer = start()
    lap = [SECOND * (100 + second) for second in range(3)]
    for _ in range(3):
        for stamp in lap:
            answered(peer, messages, stamp)
    assert [nanoseconds(pose) for pose in peer.poses] == 3 * lap
    assert peer.counters()['jumps back in time'] == '2'


def test_an_image_that_is_late_is_left_out(start: Start, messages: Any) -> None:
    peer = start()
    answered(peer, messages, 100 * SECOND)
    peer.images.publish(messages.image(100 * SECOND - SECOND // 2))
    peer.images.publish(messages.image(100 * SECOND))
    peer.wait(lambda: peer.counters().get('refused: stale') == '2', 'the count')
    answered(peer, messages, 101 * SECOND)
    assert len(peer.poses) == 2


def test_a_stamp_far_ahead_does_not_wedge_the_node(start: Start, messages: Any) -> None:
    peer = start()
    for publisher in (peer.images, peer.camera_infos):
        peer.wait_for_subscriber(publisher)
    now = time.time_ns()
    answered(peer, messages, now)
    answered(peer, messages, now + 365 * 86400 * SECOND)
    assert warned(peer, 'ahead of the clock').level == DiagnosticStatus.WARN
    # The clock of the camera is set right.
    answered(peer, messages, time.time_ns())
    peer.wait(lambda: 'clock' not in peer.statuses[-1].message, 'the end of the warning')


def test_old_stamps_are_a_warning_that_names_use_sim_time(start: Start, messages: Any) -> None:
    peer = start()
    answered(peer, messages, 100 * SECOND)
    warned(peer, 'set use_sim_time for a bag')


def test_simulated_time_may_begin_late_stand_still_and_begin_anew(
    start: Start, messages: Any
) -> None:
    peer = start(use_sim_time='true')
    # No clock yet: time is 0.
    answered(peer, messages, 50 * SECOND)
    clock = peer.node.create_publisher(Clock, '/clock', 10)
    peer.wait_for_subscriber(clock)

    def set_clock(seconds: int) -> None:
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)
        time.sleep(0.2)

    set_clock(60)
    answered(peer, messages, 60 * SECOND)
    # Paused: the reports go on, and an image that still comes is answered.
    peer.counters()
    answered(peer, messages, 60 * SECOND + SECOND // 10)
    # The simulation is restarted.
    set_clock(1)
    answered(peer, messages, SECOND)
    set_clock(2)
    answered(peer, messages, 2 * SECOND)
    counters = peer.counters()
    assert counters['images refused'] == '0'
    assert counters['poses published'] == '5'
