"""From the camera's pose to the one that is published, and the transform that tf_mode asks for."""

import math
import time
from dataclasses import dataclass

import tf2_ros
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from implicit_loc.errors import ImplicitLocError
from implicit_loc_ros.parameters import TF_MODES_OF_THE_BASE, Parameters
from implicit_loc_ros.transforms import (
    FloatArray,
    base_covariance,
    inverse,
    matrix_from_transform,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_stamped,
)

_POLL_S = 0.005
# Transforms that are missing for so long are held up, or are not sent, or come late: then it
# would not help to subscribe anew again and again.
_OUTAGE_S, _RENEWED_FOR_S = 0.5, 10.0
# So long after a jump back some may still publish transforms of the time before.
_JUMPED_FOR_S = 10.0
# What is older than the newest transform by more, TF takes no more.
_REMEMBERED = Duration(seconds=10)


class TransformError(ImplicitLocError):
    """TF has not what the chosen tf_mode needs."""


@dataclass(frozen=True)
class PublishedPose:
    """A pose in the map, ready to be published.

    Attributes:
        map_from_body: (4, 4), body being the camera or the base.
        covariance: (6, 6) of the body's pose.
        transform: for TF; None if tf_mode is none or the odometry is missing.
        missing: why there is no transform although tf_mode asks for one; else empty.
    """

    map_from_body: FloatArray
    covariance: FloatArray
    transform: TransformStamped | None
    missing: str = ''


class Frames:
    """Knows the robot's frames, listening to TF only where a mode needs it.

    Args:
        node: that listens and broadcasts.
        parameters: tf_mode, pose_of, frames and tolerances.
    """

    def __init__(self, node: Node, parameters: Parameters) -> None:
        self._node = node
        self._parameters = parameters
        self._buffer: tf2_ros.Buffer | None = None
        # Since when each pair of frames has no transform, of the thread that looks them up.
        self._missing_since: dict[tuple[str, str], float] = {}
        self._may_be_held_up = False
        self._renewed_at = self._restarted_at = -math.inf
        if parameters.publishes_base:
            # Without its node the buffer would not see the clock jump back.
            self._buffer = tf2_ros.Buffer(cache_time=_REMEMBERED, node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._broadcaster = (
            None if parameters.tf_mode == 'none' else tf2_ros.TransformBroadcaster(node)
        )

    def broadcast(self, transform: TransformStamped) -> None:
        """Publish a transform on /tf."""
        if self._broadcaster is not None:
            self._broadcaster.sendTransform(transform)

    def restart(self) -> None:
        """Time jumped back: forget moving transforms of before, and those still on their way.

        Later ones would hide those of the time that begins, or be mixed with them.
        """
        self._restarted_at = time.monotonic()
        # Topics have no order among each other: some may wait behind the image of the jump.
        self.renew()
        if self._buffer is not None:
            self._buffer.clear()

    def renew(self) -> None:
        """Subscribe anew; what is known stays known."""
        self._may_be_held_up = False
        self._renewed_at = time.monotonic()
        if self._buffer is not None:
            self._listener.unregister()
            self._listener = tf2_ros.TransformListener(self._buffer, self._node)

    def review(self) -> bool:
        """Subscribe anew where transforms are missing for long; call it now and then.

        What was lost, a reliable Fast DDS subscription asks for after the publisher's next
        heartbeat, 3 s by default, and it gives out nothing newer before.

        Returns:
            Whether it has.
        """
        is_due = self._may_be_held_up and time.monotonic() - self._renewed_at > _RENEWED_FOR_S
        self._may_be_held_up = False
        if is_due:
            self.renew()
        return is_due

    def publishable(
        self,
        map_from_camera: FloatArray,
        covariance: FloatArray,
        image_frame: str,
        stamp: int,
    ) -> PublishedPose:
        """Bring the camera's pose into the form that the parameters ask for.

        Args:
            map_from_camera: (4, 4).
            covariance: (6, 6) of the camera's pose.
            image_frame: frame_id of the image's header.
            stamp: of the image, nanoseconds.

        Raises:
            TransformError: the extrinsic of the camera is not in TF.
        """
        parameters = self._parameters
        camera_frame = parameters.camera_frame or image_frame
        if not parameters.publishes_base:
            transform = None
            if parameters.tf_mode == 'map_to_camera':
                child = parameters.child_frame or camera_frame
                transform = self._from_map(stamp, child, map_from_camera)
            return PublishedPose(map_from_camera, covariance, transform)

        if not camera_frame:
            raise TransformError(
                "the image's frame_id is empty: set 'camera_frame' to the camera's optical frame"
            )
        camera_from_base = self._lookup(camera_frame, parameters.base_frame, stamp)
        map_from_base = map_from_camera @ camera_from_base
        moved = base_covariance(covariance, map_from_camera, camera_from_base)
        if parameters.tf_mode not in TF_MODES_OF_THE_BASE:
            return PublishedPose(map_from_base, moved, None)
        if parameters.tf_mode == 'map_to_base':
            transform = self._from_map(stamp, parameters.base_frame, map_from_base)
            return PublishedPose(map_from_base, moved, transform)
        try:
            odom_from_base = self._lookup(parameters.odom_frame, parameters.base_frame, stamp)
        except TransformError as error:
            # The pose itself needs no odometry.
            return PublishedPose(map_from_base, moved, None, str(error))
        map_from_odom = map_from_base @ inverse(odom_from_base)
        later = stamp + round(parameters.tf_future_offset_s * 1e9)
        transform = self._from_map(later, parameters.odom_frame, map_from_odom)
        return PublishedPose(map_from_base, moved, transform)

    def _from_map(self, stamp: int, child: str, map_from_child: FloatArray) -> TransformStamped:
        if not child:
            raise TransformError(
                "the image's frame_id is empty: set 'child_frame' or 'camera_frame'"
            )
        if child == self._parameters.map_frame:
            raise TransformError(
                f"the camera's frame is the map frame {child!r}: set 'child_frame'"
            )
        time_message = stamp_from_nanoseconds(stamp)
        return transform_stamped(time_message, self._parameters.map_frame, child, map_from_child)

    def _lookup(self, target: str, source: str, stamp: int) -> FloatArray:
        """target_from_source at a stamp, waiting at most tf_tolerance_s of wall time."""
        assert self._buffer is not None
        deadline = time.monotonic() + self._parameters.tf_tolerance_s
        while True:
            try:
                # No timeout here: tf2 waits in ROS time, which stands still with a paused bag.
                found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp))
                self._missing_since.pop((target, source), None)
                return matrix_from_transform(found.transform)
            except tf2_ros.TransformException as error:
                if time.monotonic() >= deadline:
                    self._note_missing(target, source)
                    self._forget_later_times(target, source, stamp)
                    raise TransformError(
                        f'TF has no transform from {source!r} to {target!r} at the stamp of the '
                        f'image: {error}'
                    ) from error
            time.sleep(_POLL_S)

    def _note_missing(self, target: str, source: str) -> None:
        since = self._missing_since.setdefault((target, source), time.monotonic())
        if time.monotonic() - since > _OUTAGE_S:
            self._missing_since[target, source] = math.inf
            self._may_be_held_up = True

    def _forget_later_times(self, target: str, source: str, stamp: int) -> None:
        """Soon after a jump back, clear a buffer of later times that takes nothing of this one.

        Whoever publishes transforms of before for a moment would keep out the others until their
        time is past.
        """
        assert self._buffer is not None
        if time.monotonic() - self._restarted_at > _JUMPED_FOR_S:
            return
        try:
            newest = self._buffer.lookup_transform(target, source, Time())
        except tf2_ros.TransformException:
            return
        if stamp_to_nanoseconds(newest.header.stamp) - stamp > _REMEMBERED.nanoseconds:
            self._buffer.clear()
