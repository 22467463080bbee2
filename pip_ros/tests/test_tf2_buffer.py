"""The buffer answers as tf2 does: interpolated, chained, static, or with the right exception."""

import math
import threading
import time

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from tf2_ros import (
    Buffer,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)


def transform(
    parent: str,
    child: str,
    seconds: float,
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    yaw: float = 0.0,
) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id = parent
    message.header.stamp = at(seconds).to_msg()
    message.child_frame_id = child
    vector = message.transform.translation
    vector.x, vector.y, vector.z = translation
    message.transform.rotation.z = math.sin(yaw / 2)
    message.transform.rotation.w = math.cos(yaw / 2)
    return message


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9), clock_type=ClockType.ROS_TIME)


def filled(*transforms: TransformStamped) -> Buffer:
    buffer = Buffer()
    for one in transforms:
        buffer.set_transform(one, 'test')
    return buffer


def position(message: TransformStamped) -> tuple[float, float, float]:
    vector = message.transform.translation
    return vector.x, vector.y, vector.z


def yaw_of(message: TransformStamped) -> float:
    return 2 * math.atan2(message.transform.rotation.z, message.transform.rotation.w)


def test_motion_between_two_stamps_is_interpolated():
    buffer = filled(
        transform('map', 'base', 10.0),
        transform('map', 'base', 12.0, (2.0, 4.0, 0.0), math.pi / 2),
    )
    found = buffer.lookup_transform('map', 'base', at(10.5))
    assert position(found) == pytest.approx((0.5, 1.0, 0.0))
    assert yaw_of(found) == pytest.approx(math.pi / 8)
    assert Time.from_msg(found.header.stamp).nanoseconds == at(10.5).nanoseconds
    assert (found.header.frame_id, found.child_frame_id) == ('map', 'base')


def test_interpolation_takes_the_shorter_way_between_opposite_quaternions():
    end = transform('map', 'base', 12.0, yaw=0.2)
    rotation = end.transform.rotation
    rotation.z, rotation.w = -rotation.z, -rotation.w
    buffer = filled(transform('map', 'base', 10.0), end)
    rotation = buffer.lookup_transform('map', 'base', at(11.0)).transform.rotation
    assert abs(rotation.z) == pytest.approx(math.sin(0.05))
    assert abs(rotation.w) == pytest.approx(math.cos(0.05))


def test_chain_through_a_common_ancestor_and_its_inverse():
    buffer = filled(
        transform('map', 'odom', 5.0, (1.0, 0.0, 0.0), math.pi / 2),
        transform('odom', 'base', 5.0, (1.0, 0.0, 0.0)),
        transform('map', 'landmark', 5.0, (1.0, 3.0, 0.0)),
    )
    assert position(buffer.lookup_transform('map', 'base', at(5))) == pytest.approx((1, 1, 0))
    found = buffer.lookup_transform('base', 'landmark', at(5))
    assert position(found) == pytest.approx((2.0, 0.0, 0.0))
    assert yaw_of(found) == pytest.approx(-math.pi / 2)


def test_static_transform_holds_at_all_times():
    buffer = filled(transform('map', 'base', 5.0, (1.0, 0.0, 0.0)))
    buffer.set_transform_static(transform('base', 'camera', 0.0, (0.0, 0.0, 0.5)), 'test')
    assert position(buffer.lookup_transform('base', 'camera', at(1e6))) == (0.0, 0.0, 0.5)
    assert position(buffer.lookup_transform('map', 'camera', at(5))) == (1.0, 0.0, 0.5)
    assert Time.from_msg(buffer.lookup_transform('map', 'camera', at(0)).header.stamp) == at(5)


def test_time_zero_means_the_newest_time_that_all_frames_know():
    buffer = filled(
        transform('map', 'odom', 1.0),
        transform('map', 'odom', 3.0),
        transform('odom', 'base', 1.0),
        transform('odom', 'base', 2.0, (7.0, 0.0, 0.0)),
    )
    found = buffer.lookup_transform('map', 'base', Time())
    assert Time.from_msg(found.header.stamp) == at(2.0)
    assert position(found) == (7.0, 0.0, 0.0)


def test_frame_to_itself_is_identity():
    found = filled(transform('map', 'base', 1.0)).lookup_transform('base', 'base', at(1.0))
    assert position(found) == (0.0, 0.0, 0.0)
    assert found.transform.rotation.w == 1.0


def test_extrapolation_is_refused_in_both_directions():
    buffer = filled(transform('map', 'base', 10.0), transform('map', 'base', 11.0))
    with pytest.raises(ExtrapolationException, match=r'into the future.*11\.000000000'):
        buffer.lookup_transform('map', 'base', at(11.001))
    with pytest.raises(ExtrapolationException, match=r'into the past.*10\.000000000'):
        buffer.lookup_transform('base', 'map', at(9.999))
    with pytest.raises(ExtrapolationException, match='only time'):
        filled(transform('map', 'base', 10.0)).lookup_transform('map', 'base', at(9))


def test_unknown_frame_and_separate_trees_have_their_own_exceptions():
    buffer = filled(transform('map', 'base', 1.0), transform('moon', 'rover', 1.0))
    with pytest.raises(LookupException, match=r'"nowhere" passed to .* does not exist'):
        buffer.lookup_transform('map', 'nowhere', at(1))
    for when in (at(1), Time()):
        with pytest.raises(ConnectivityException, match='not part of the same tree'):
            buffer.lookup_transform('base', 'rover', when)


@pytest.mark.parametrize('frame', ['', '/base'])
def test_bad_frame_names_are_refused(frame: str):
    with pytest.raises(InvalidArgumentException):
        filled(transform('map', 'base', 1.0)).lookup_transform('map', frame, at(1))


def test_all_exceptions_are_transform_exceptions():
    for kind in (
        ConnectivityException,
        ExtrapolationException,
        InvalidArgumentException,
        LookupException,
    ):
        assert issubclass(kind, TransformException)


def test_broken_transforms_are_ignored():
    unnormalised = transform('map', 'base', 1.0)
    unnormalised.transform.rotation.w = 2.0
    infinite = transform('map', 'base', 1.0, (math.inf, 0.0, 0.0))
    nan = transform('map', 'base', 1.0, yaw=math.nan)
    buffer = filled(unnormalised, infinite, nan, transform('map', 'map', 1.0))
    assert not buffer.can_transform('map', 'base', Time())


def test_loop_in_the_tree_is_an_error_and_not_an_endless_search():
    buffer = filled(transform('a', 'b', 1.0), transform('b', 'a', 1.0), transform('c', 'd', 1.0))
    with pytest.raises(ConnectivityException, match='loop'):
        buffer.lookup_transform('a', 'c', at(1))


def test_samples_older_than_the_cache_time_are_forgotten():
    buffer = Buffer(cache_time=Duration(seconds=2))
    for seconds in (1.0, 2.0, 3.0, 4.0):
        buffer.set_transform(transform('map', 'base', seconds), 'test')
    buffer.set_transform(transform('map', 'base', 1.5), 'test')
    assert buffer.can_transform('map', 'base', at(2.0))
    assert not buffer.can_transform('map', 'base', at(1.5))


def test_lookup_waits_for_a_transform_that_comes_in_time():
    buffer = filled(transform('map', 'base', 1.0))
    later = threading.Timer(0.1, buffer.set_transform, (transform('map', 'base', 2.0), 'test'))
    later.start()
    found = buffer.lookup_transform('map', 'base', at(1.5), timeout=Duration(seconds=5))
    assert Time.from_msg(found.header.stamp) == at(1.5)
    later.join()


def test_timeout_ends_in_the_reason():
    buffer = filled(transform('map', 'base', 1.0))
    begin = time.monotonic()
    with pytest.raises(ExtrapolationException):
        buffer.lookup_transform('map', 'base', at(1.5), timeout=Duration(seconds=0.1))
    assert time.monotonic() - begin >= 0.1
    possible, reason = buffer.can_transform('map', 'base', at(1.5), return_debug_tuple=True)
    assert not possible
    assert 'extrapolation' in reason


def test_jump_back_in_time_forgets_what_moves_and_keeps_what_is_static(node: Node):
    buffer = Buffer(node=node)
    buffer.set_transform(transform('map', 'base', 100.0), 'test')
    buffer.set_transform_static(transform('base', 'camera', 0.0), 'test')
    node.set_parameters([Parameter('use_sim_time', value=True)])
    clock = node.get_clock()
    clock.set_ros_time_override(at(100.0))
    buffer.set_transform(transform('map', 'base', 100.0), 'test')
    clock.set_ros_time_override(at(101.0))
    assert buffer.can_transform('map', 'base', at(100.0))
    clock.set_ros_time_override(at(50.0))
    assert not buffer.can_transform('map', 'base', at(100.0))
    assert buffer.can_transform('base', 'camera', at(50.0))
