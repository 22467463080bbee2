"""Transforms that come in any order of time."""

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

import rclpy
from rclpy.executors import SingleThreadedExecutor
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster

from implicit_loc_ros import frames
from implicit_loc_ros.frames import Frames, TransformError
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.transforms import (
    matrix_from_values,
    stamp_from_nanoseconds,
    transform_stamped,
)

BASE_FROM_CAMERA = matrix_from_values((0.3, 0.0, 0.2, -0.5, 0.5, -0.5, 0.5))


class Robot:
    """A robot whose odometry drives one metre a second, and frames that listen to it."""

    def __init__(self, context: rclpy.Context) -> None:
        node = self._node = rclpy.create_node('robot', context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(node)
        self._publisher = node.create_publisher(TFMessage, '/tf', 100)
        self._extrinsic = StaticTransformBroadcaster(node)
        self._extrinsic.sendTransform(
            transform_stamped(stamp_from_nanoseconds(0), 'base_link', 'camera', BASE_FROM_CAMERA)
        )
        self._frames = Frames(node, Parameters(tf_mode='map_to_odom', tf_tolerance_s=0.0))
        self._await(lambda: self._publisher.get_subscription_count() == 1)
        self._await(self._knows_extrinsic)

    def drive(self, seconds: float) -> None:
        """Publish odometry of this time, and let it be heard."""
        self.send(seconds)
        end = time.monotonic() + 0.3
        self._await(lambda: time.monotonic() > end)

    def send(self, seconds: float) -> None:
        """Publish odometry of this time."""
        stamp = stamp_from_nanoseconds(round(1e9 * seconds))
        odom_from_base = matrix_from_values((seconds, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        moved = transform_stamped(stamp, 'odom', 'base_link', odom_from_base)
        self._publisher.publish(TFMessage(transforms=[moved]))

    def odom_in_map(self, seconds: float) -> float | None:
        """Where the odometry begins along x while the base is in the origin; None if unknown."""
        stamp = round(1e9 * seconds)
        map_from_camera = BASE_FROM_CAMERA
        found = self._frames.publishable(map_from_camera, np.eye(6), 'camera', stamp).transform
        return None if found is None else float(found.transform.translation.x)

    def review(self) -> bool:
        """As the node does it now and then; whether the frames subscribed anew."""
        return self._frames.review()

    def renew(self) -> None:
        """As the node does it after a standstill."""
        self._frames.renew()
        self._wait_until_discovered()

    def jump(self) -> None:
        """The stamps of the images have jumped back."""
        self._frames.restart()
        self._wait_until_discovered()

    def close(self) -> None:
        """Leave the network: the next robot would be heard by these frames, too."""
        self._executor.shutdown()
        self._node.destroy_node()

    def _wait_until_discovered(self) -> None:
        end = time.monotonic() + 0.5
        self._await(lambda: time.monotonic() > end)

    def _knows_extrinsic(self) -> bool:
        try:
            self.odom_in_map(0.0)
        except TransformError:
            return False
        return True

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            self._executor.spin_once(timeout_sec=0.05)


@pytest.fixture
def robot() -> Iterator[Robot]:
    context = rclpy.Context()
    rclpy.init(context=context)
    robot = Robot(context)
    yield robot
    robot.close()
    context.try_shutdown()


def test_a_transform_of_later_times_that_comes_behind_a_jump_back_is_forgotten(
    robot: Robot,
) -> None:
    robot.drive(100.0)
    assert robot.odom_in_map(100.0) == -100.0
    robot.jump()
    # As an odometry does it that learns of the jump late.
    robot.drive(100.1)
    robot.drive(60.0)
    # TF would refuse everything until 90.1 s.
    assert robot.odom_in_map(60.0) is None
    robot.drive(60.1)
    assert robot.odom_in_map(60.1) == -60.1


def test_odometry_that_is_late_does_not_cost_what_is_known(robot: Robot) -> None:
    for tenths in range(3):
        robot.drive(100.0 + tenths / 10)
    assert robot.odom_in_map(99.0) is None
    assert robot.odom_in_map(101.0) is None
    assert robot.odom_in_map(100.1) == -100.1


def test_what_was_sent_before_a_jump_back_and_waits_behind_it_is_not_heard(robot: Robot) -> None:
    robot.drive(100.0)
    robot.send(100.1)
    robot.jump()
    robot.drive(95.0)
    robot.drive(95.2)
    assert robot.odom_in_map(95.1) == pytest.approx(-95.1)
    # Between the two times lies no odometry.
    assert robot.odom_in_map(97.0) is None


def test_without_a_jump_back_later_times_are_not_forgotten(robot: Robot) -> None:
    """A camera's clock may be far behind, and an image may be from before a jump ahead."""
    robot.drive(100.0)
    assert robot.odom_in_map(60.0) is None
    assert robot.odom_in_map(100.0) == -100.0


def test_where_odometry_is_missing_for_long_it_is_subscribed_to_anew_once(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(frames, 'time', SimpleNamespace(monotonic=lambda: clock.now))
    robot.drive(100.0)
    assert robot.odom_in_map(100.0) == -100.0

    def miss(seconds: float) -> int:
        """How often the frames subscribe anew meanwhile."""
        renewed = 0
        for _ in range(round(seconds / 0.1)):
            clock.now += 0.1
            assert robot.odom_in_map(101.0) is None
            renewed += robot.review()
        return renewed

    assert miss(0.4) == 0
    assert miss(30.0) == 1

    def recover_and_miss() -> int:
        robot.drive(100.0)
        assert robot.odom_in_map(100.0) == -100.0
        return miss(0.8)

    # Who is late often is not subscribed to anew each time.
    assert sum(recover_and_miss() for _ in range(10)) == 1


def test_a_renewed_subscription_hears(robot: Robot) -> None:
    robot.renew()
    robot.drive(100.0)
    assert robot.odom_in_map(100.0) == -100.0
