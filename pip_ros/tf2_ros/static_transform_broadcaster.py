"""Publishes transforms that never change."""

from collections.abc import Iterable

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage


class StaticTransformBroadcaster:
    """Publishes on /tf_static, latched: late listeners get all that was sent."""

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', qos or latched)
        self._transforms: dict[str, TransformStamped] = {}

    def sendTransform(  # noqa: N802 - tf2's own name
        self, transform: TransformStamped | Iterable[TransformStamped]
    ) -> None:
        """Publish one transform or several, together with all that were sent before."""
        several = [transform] if isinstance(transform, TransformStamped) else list(transform)
        # Only the last message is latched, so each one holds the newest of every child frame.
        self._transforms.update({one.child_frame_id: one for one in several})
        self.pub_tf.publish(TFMessage(transforms=list(self._transforms.values())))
