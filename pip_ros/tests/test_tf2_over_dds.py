"""TFMessage is the real type, and transforms travel between nodes."""

import time
from collections.abc import Callable

import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from rosbags.typesys import Stores, get_typestore
from tf2_msgs.msg import TFMessage
from tf2_ros import Buffer, StaticTransformBroadcaster, TransformBroadcaster, TransformListener


def named(child: str, x: float = 0.0) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = 'map'
    message.header.stamp.sec = 7
    message.transform.translation.x = x
    return message


def spin_until(executor: SingleThreadedExecutor, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    return condition()


def test_tf_message_is_published_and_received_over_dds(
    executor: SingleThreadedExecutor, node: Node
):
    received: list[TFMessage] = []
    node.create_subscription(TFMessage, '/tf', received.append, 10)
    broadcaster = TransformBroadcaster(node)
    assert spin_until(executor, lambda: broadcaster.pub_tf.get_subscription_count() == 1)
    broadcaster.sendTransform([named('base', 1.5), named('camera')])
    assert spin_until(executor, lambda: bool(received))
    assert [one.child_frame_id for one in received[0].transforms] == ['base', 'camera']
    assert received[0].transforms[0].transform.translation.x == 1.5


def test_tf_message_has_the_type_hash_of_ros(node: Node):
    # With another one, the nodes of a robot would not match; rosbags computes it on its own.
    expected = get_typestore(Stores.ROS2_JAZZY).hash_rihs01('tf2_msgs/msg/TFMessage')
    node.create_publisher(TFMessage, '/tf', 10)
    (info,) = node.get_publishers_info_by_topic('/tf')
    assert info.topic_type == 'tf2_msgs/msg/TFMessage'
    assert str(info.topic_type_hash) == expected


@pytest.mark.parametrize('spin_thread', [False, True])
def test_listener_fills_the_buffer(executor: SingleThreadedExecutor, spin_thread: bool):
    sender = rclpy.create_node('sender', context=executor.context)
    receiver = rclpy.create_node('receiver', context=executor.context)
    buffer = Buffer(node=receiver)
    static = StaticTransformBroadcaster(sender)
    static.sendTransform(named('camera', 0.25))
    static.sendTransform(named('lidar', 0.5))
    listener = TransformListener(buffer, receiver, spin_thread=spin_thread)
    if not spin_thread:
        executor.add_node(receiver)
    executor.add_node(sender)
    moving = TransformBroadcaster(sender)
    assert spin_until(executor, lambda: moving.pub_tf.get_subscription_count() == 1)
    moving.sendTransform(named('base', 2.0))

    def complete() -> bool:
        return all(
            buffer.can_transform('map', frame, Time()) for frame in ('camera', 'lidar', 'base')
        )

    # The static transforms were sent before the listener came.
    assert spin_until(executor, complete)
    assert buffer.lookup_transform('camera', 'base', Time()).transform.translation.x == 1.75
    listener.unregister()
    sender.destroy_node()
    receiver.destroy_node()
