"""Everything around one node: a camera, odometry, listeners, and callers of its services."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, takewhile
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from bag_player.stamps import shifted
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from replay.child_process import Child
from replay.collector import QUEUE
from replay.errors import ReplayError
from replay.playback import NODE_NAME, POSE_TOPIC, START_PATIENCE_S, TF_TOPIC
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from tf2_ros import StaticTransformBroadcaster

from implicit_loc_ros.transforms import (
    inverse,
    matrix_from_transform,
    matrix_from_values,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_stamped,
)
from implicit_loc_trainer.ros_messages import CAMERA_FRAME, MAP_FRAME
from soak.judging import Answer, FloatArray, Sent

# The camera looks forward, 30 cm before and 20 cm above the base: x y z qx qy qz qw.
BASE_FROM_CAMERA = matrix_from_values((0.3, 0.0, 0.2, -0.5, 0.5, -0.5, 0.5))
CAMERA_FROM_BASE = inverse(BASE_FROM_CAMERA)
# By the odometry the robot drives straight on: what is taken from another time shows.
_ODOMETRY_M_PER_S = 1.0

IMAGE_TOPIC, CAMERA_INFO_TOPIC = '/image', '/camera_info'
_RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
_BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
_SERVICE_PATIENCE_S = 10.0
# A service learns of its client on its own; an answer before that is lost.
_ACQUAINTED_S = 1.0

Change = Callable[[Any], None]


@dataclass(frozen=True)
class Shot:
    """What the camera sees somewhere.

    Attributes:
        image: CDR of an Image with any stamp.
        position: of the body there, (3,), metres in the world.
    """

    image: bytes
    position: FloatArray


class Robot:
    """Publishes from the caller's thread and listens in its own; use it in a with statement.

    Args:
        shots: neighbours look alike; shown forwards and backwards.
        camera_info: CDR of their CameraInfo.
        rate_hz: of the camera.

    Attributes:
        sent: images by stamp.
        answers: poses.
        transforms: of the map, as the poses of the base that they make with the odometry.
        infos_come: whether CameraInfo goes with the images.
        change_info: spoils each CameraInfo; None leaves it as it is.
        odometry_comes: whether odometry goes with the images.
    """

    def __init__(self, shots: Sequence[Shot], camera_info: bytes, rate_hz: float) -> None:
        self.sent: dict[int, Sent] = {}
        self.answers: list[Answer] = []
        self.transforms: list[Answer] = []
        self.infos_come = self.odometry_comes = True
        self.change_info: Change | None = None
        self._shots = cycle([*shots, *shots[-2:0:-1]])
        self._camera_info = camera_info
        self._period_s = 1.0 / rate_hz
        # From the wall clock to the stamps.
        self._offset_ns = 0
        self._last_stamp = 0
        self._first_stamp = time.time_ns()
        self._clients: dict[str, Any] = {}
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('soak_robot', context=self._context)
        self._infos = self._node.create_publisher(CameraInfo, CAMERA_INFO_TOPIC, _RELIABLE)
        self._images = self._node.create_publisher(Image, IMAGE_TOPIC, _RELIABLE)
        self._odometry = self._node.create_publisher(TFMessage, TF_TOPIC, QUEUE)
        self._extrinsic = StaticTransformBroadcaster(self._node)
        self._extrinsic.sendTransform(
            transform_stamped(
                stamp_from_nanoseconds(0), 'base_link', CAMERA_FRAME, BASE_FROM_CAMERA
            )
        )
        self._node.create_subscription(PoseStamped, POSE_TOPIC, self._on_pose, QUEUE)
        self._node.create_subscription(TFMessage, TF_TOPIC, self._on_transforms, QUEUE)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> 'Robot':
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context.try_shutdown()
        self._thread.join(5)
        self._node.destroy_node()

    def film(self, seconds: float, forbidden: str = '', change: Change | None = None) -> None:
        """Publish images at the camera's rate.

        Args:
            seconds: at least one image.
            forbidden: why no pose may answer them.
            change: spoils each Image.
        """
        end = time.monotonic() + seconds
        while True:
            self.shoot(forbidden, change)
            time.sleep(self._period_s)
            if time.monotonic() >= end:
                return

    def film_until(self, condition: Callable[[], object], patience_s: float) -> bool:
        """Publish good images until a condition holds; whether it did in time."""
        end = time.monotonic() + patience_s
        while not condition():
            if not self._thread.is_alive():
                raise ReplayError('the robot hears nothing any more: its own executor has ended')
            if time.monotonic() > end:
                return False
            self.film(self._period_s)
        return True

    def shoot(
        self, forbidden: str = '', change: Change | None = None, late_s: float = 0.0
    ) -> None:
        """Publish one image, with what goes with it.

        Args:
            forbidden: why no pose may answer it.
            change: spoils the Image.
            late_s: its stamp lies this much before that of the image before it.
        """
        shot = next(self._shots)
        if late_s:
            stamp = self._last_stamp - round(1e9 * late_s)
        else:
            stamp = self._last_stamp = time.time_ns() + self._offset_ns
        if self.odometry_comes:
            moved = transform_stamped(
                stamp_from_nanoseconds(stamp), 'odom', 'base_link', self._odom_from_base(stamp)
            )
            self._odometry.publish(TFMessage(transforms=[moved]))
        if self.infos_come:
            self._infos.publish(_spoiled(self._camera_info, CameraInfo, stamp, self.change_info))
        image = _spoiled(shot.image, Image, stamp, change)
        self.sent[stamp] = Sent(len(self.sent), time.monotonic(), shot.position, forbidden)
        self._images.publish(image)

    def jump(self, seconds: float) -> None:
        """Stamp later images so much later, or earlier."""
        self._offset_ns += round(1e9 * seconds)

    def restart_camera(self, reliable: bool) -> None:
        """Publish images with another publisher, which subscribers have to discover."""
        self._destroy(self._node.destroy_publisher, self._images)
        profile = _RELIABLE if reliable else _BEST_EFFORT
        self._images = self._node.create_publisher(Image, IMAGE_TOPIC, profile)

    def publish_once(self, kind: Any, topic: str, message: Any, seconds: float) -> None:
        """Publish a message on some topic of the node while filming for this long."""
        publisher = self._node.create_publisher(kind, topic, _RELIABLE)
        self.film_until(publisher.get_subscription_count, _SERVICE_PATIENCE_S)
        publisher.publish(message)
        self.film(seconds)
        self._destroy(self._node.destroy_publisher, publisher)

    def listen(self, topics: Sequence[tuple[Any, str]], seconds: float) -> None:
        """Subscribe to topics of the node, (class, name), while filming for this long."""
        listeners = [
            self._node.create_subscription(kind, f'/{NODE_NAME}/{name}', lambda _: None, 1)
            for kind, name in topics
        ]
        self.film(seconds)
        for listener in listeners:
            self._destroy(self._node.destroy_subscription, listener)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """What a service of the node answers; meanwhile the camera goes on.

        Raises:
            ReplayError: no answer came.
        """
        if name not in self._clients:
            client = self._clients[name] = self._node.create_client(kind, f'/{NODE_NAME}/{name}')
            if not client.wait_for_service(_SERVICE_PATIENCE_S):
                raise ReplayError(f'the node offers no service {name}')
            self.film(_ACQUAINTED_S)
        future = self._clients[name].call_async(request)
        if not self.film_until(future.done, _SERVICE_PATIENCE_S):
            raise ReplayError(f'the service {name} does not answer')
        return future.result()

    def await_node(self, node: Child) -> None:
        """Wait until the node listens to the images.

        Raises:
            ReplayError: it ended, or does not.
        """
        end = time.monotonic() + START_PATIENCE_S
        while not (self._images.get_subscription_count() and self._infos.get_subscription_count()):
            node.check_alive()
            if time.monotonic() > end:
                raise ReplayError(
                    f'the node did not become active in {START_PATIENCE_S:g} s; '
                    f'it said last: {node.last_line()} (whole output: {node.log})'
                )
            time.sleep(self._period_s)

    def answer_after(self, number: int, with_transform: bool) -> float | None:
        """When the first pose of an image of this number or later came; None if none has.

        Args:
            number: of an image.
            with_transform: whether its transform, too.
        """
        latest = 0.0
        for arrivals in (self.answers, self.transforms)[: 1 + with_transform]:
            is_later = takewhile(lambda one: self._number(one.stamp) >= number, reversed(arrivals))
            first = min((one.time for one in is_later), default=None)
            if first is None:
                return None
            latest = max(latest, first)
        return latest

    def _number(self, stamp: int) -> int:
        image = self.sent.get(stamp)
        return -1 if image is None else image.number

    def _on_pose(self, message: PoseStamped) -> None:
        place, stamp = message.pose.position, stamp_to_nanoseconds(message.header.stamp)
        position = np.array([place.x, place.y, place.z])
        self.answers.append(Answer(stamp, time.monotonic(), position))

    def _on_transforms(self, message: TFMessage) -> None:
        at = time.monotonic()
        for one in message.transforms:
            if one.header.frame_id == MAP_FRAME:
                stamp = stamp_to_nanoseconds(one.header.stamp)
                map_from_base = matrix_from_transform(one.transform) @ self._odom_from_base(stamp)
                self.transforms.append(Answer(stamp, at, map_from_base[:3, 3]))

    def _destroy(self, destroy: Callable[[Any], object], entity: Any) -> None:
        """In the thread that spins: rclpy fails if another destroys what it waits for."""
        self._executor.create_task(destroy, entity)

    def _odom_from_base(self, stamp: int) -> FloatArray:
        driven_m = _ODOMETRY_M_PER_S * 1e-9 * (stamp - self._first_stamp)
        return matrix_from_values((driven_m, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            # A shutdown makes whatever runs at the moment fail.
            if self._context.ok():
                raise


def _spoiled(data: bytes, kind: Any, stamp: int, change: Change | None) -> Any:
    """Bytes or message, stamped and changed."""
    stamped = shifted(data, kind, lambda _: stamp)
    if change is None:
        return stamped
    message = deserialize_message(stamped, kind)
    change(message)
    return message
