"""Everything that the node publishes about a pose; what nobody listens to is not made."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from implicit_loc_ros.frames import Frames, PublishedPose
from implicit_loc_ros.transforms import (
    pose_stamped,
    pose_with_covariance_stamped,
    stamp_to_nanoseconds,
)
from implicit_loc_ros.views import View, debug_image, point_cloud

# The path has a pose at most this often, and this many: 100 s, and a message of 100 kB.
_PATH_STEP_NS = 100_000_000
_PATH_POSES = 1000
# Pictures are for eyes: faster ones would only take time from the poses.
_VIEW_PERIOD_S = 0.2
_PATH_PERIOD_S = 0.5


class Outputs:
    """The node's publishers of poses, and of what people look at.

    Args:
        node: that publishes.
        map_frame: of every pose.
    """

    def __init__(self, node: Node, map_frame: str) -> None:
        self._node = node
        self._map_frame = map_frame
        self._poses = node.create_publisher(PoseStamped, '~/pose', 10)
        self._poses_with_covariance = node.create_publisher(
            PoseWithCovarianceStamped, '~/pose_with_covariance', 10
        )
        self._path = node.create_publisher(Path, '~/path', 1)
        self._points = node.create_publisher(PointCloud2, '~/points', 1)
        self._debug_images = node.create_publisher(Image, '~/debug_image', 1)
        self._passed: deque[PoseStamped] = deque(maxlen=_PATH_POSES)
        self._epoch: int | None = None
        self._path_due = self._view_due = 0.0

    def publish(
        self, image: Image | CompressedImage, pose: PublishedPose, frames: Frames, epoch: int
    ) -> None:
        """Send the pose of an image, and its transform."""
        stamp = image.header.stamp
        message = pose_stamped(stamp, self._map_frame, pose.map_from_body)
        with_covariance = pose_with_covariance_stamped(
            stamp, self._map_frame, pose.map_from_body, pose.covariance
        )
        self._remember(message, epoch)

        def send() -> None:
            if pose.transform is not None:
                frames.broadcast(pose.transform)
            self._poses.publish(message)
            self._poses_with_covariance.publish(with_covariance)

        self._unless_shut_down(send)

    def _remember(self, pose: PoseStamped, epoch: int) -> None:
        if epoch != self._epoch:
            # Poses from before are in another time, or in another map.
            self._epoch = epoch
            self._passed.clear()
        if not self._passed or _nanoseconds_between(self._passed[-1], pose) >= _PATH_STEP_NS:
            self._passed.append(pose)

    def show(self, make: Callable[[], View]) -> None:
        """Send what people look at, as far as anybody does.

        Args:
            make: gives the view of the last image; called only if it is needed.
        """
        self._unless_shut_down(lambda: self._show(make))

    def _show(self, make: Callable[[], View]) -> None:
        now = time.monotonic()
        passed = list(self._passed)
        if now >= self._path_due and passed and _listened_to(self._path):
            self._path_due = now + _PATH_PERIOD_S
            header = Header(stamp=passed[-1].header.stamp, frame_id=self._map_frame)
            self._path.publish(Path(header=header, poses=passed))
        wants_image, wants_points = map(_listened_to, (self._debug_images, self._points))
        if now < self._view_due or not (wants_image or wants_points):
            return
        self._view_due = now + _VIEW_PERIOD_S
        view = make()
        if wants_image:
            self._debug_images.publish(debug_image(view))
        if wants_points and view.accepted:
            self._points.publish(point_cloud(view, self._map_frame))

    def _unless_shut_down(self, send: Callable[[], None]) -> None:
        try:
            send()
        except Exception:
            # A shutdown takes the publishers away at any moment.
            if self._node.context.ok():
                raise


def _listened_to(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())


def _nanoseconds_between(one: PoseStamped, other: PoseStamped) -> int:
    return abs(stamp_to_nanoseconds(other.header.stamp) - stamp_to_nanoseconds(one.header.stamp))
