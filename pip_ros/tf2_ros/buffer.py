"""The tree of frames over time, and the transforms between any two of them."""

import time as wall_clock
from threading import RLock

from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.time import Time

from tf2_ros.cache import MovingCache, Sample, StaticCache
from tf2_ros.exceptions import (
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    TransformException,
)
from tf2_ros.motion import Motion

DEFAULT_CACHE_TIME = Duration(seconds=10)
POLLING_INTERVAL_S = 0.005

# Frames from the one that was asked for up to its root, each with frame_from_asked.
Chain = dict[str, Motion]


class Buffer:
    """Holds transforms and answers what lies between two frames at a time.

    Args:
        cache_time: how long a moving transform is kept, 10 s if not given.
        node: with it, the moving transforms are forgotten when the node's clock jumps back.
    """

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._cache_time = cache_time or DEFAULT_CACHE_TIME
        self._caches: dict[str, StaticCache | MovingCache] = {}
        self._parents: set[str] = set()
        self._lock = RLock()
        self._jump_handle = None
        if node is not None:
            threshold = JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            )
            self._jump_handle = node.get_clock().create_jump_callback(
                threshold, post_callback=self._on_time_jump
            )

    def clear(self) -> None:
        """Forget the moving transforms; static ones are sent once and stay."""
        with self._lock:
            self._caches = {
                frame: cache
                for frame, cache in self._caches.items()
                if isinstance(cache, StaticCache)
            }

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that holds at its stamp; authority names its sender in messages."""
        self._insert(transform, authority, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that holds at all times."""
        self._insert(transform, authority, is_static=True)

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration | None = None,
    ) -> TransformStamped:
        """Return target_from_source at a time.

        Args:
            target_frame: frame to transform into.
            source_frame: frame to transform from.
            time: zero means the newest time at which all that lies between is known.
            timeout: how long to wait for it; None does not wait.

        Raises:
            TransformException: one of its children, which tell what is missing.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        return self.lookup_transform_core(target_frame, source_frame, time)

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Time,
        timeout: Duration | None = None,
        return_debug_tuple: bool = False,
    ) -> bool | tuple[bool, str]:
        """Return whether the lookup succeeds within the timeout, on request with the reason."""
        waiting_s = 0.0 if timeout is None else timeout.nanoseconds / 1e9
        deadline = wall_clock.monotonic() + waiting_s
        while True:
            try:
                self.lookup_transform_core(target_frame, source_frame, time)
                result = True, ''
            except TransformException as error:
                result = False, str(error)
            if result[0] or wall_clock.monotonic() >= deadline:
                return result if return_debug_tuple else result[0]
            wall_clock.sleep(POLLING_INTERVAL_S)

    def lookup_transform_core(
        self, target_frame: str, source_frame: str, time: Time
    ) -> TransformStamped:
        """Return target_from_source at a time, without waiting; errors as lookup_transform."""
        with self._lock:
            self._check_frame('target_frame', target_frame)
            self._check_frame('source_frame', source_frame)
            stamp = time.nanoseconds or self._latest_common_time(target_frame, source_frame)
            target_from_source = self._motion(target_frame, source_frame, stamp)
        message = TransformStamped()
        message.header.stamp = Time(nanoseconds=stamp).to_msg()
        message.header.frame_id = target_frame
        message.child_frame_id = source_frame
        message.transform = target_from_source.to_message()
        return message

    def _insert(self, message: TransformStamped, authority: str, is_static: bool) -> None:
        parent = message.header.frame_id.removeprefix('/')
        child = message.child_frame_id.removeprefix('/')
        try:
            if not parent or not child or parent == child:
                raise ValueError('the two frames need names, and different ones')
            motion = Motion.from_message(message.transform)
        except ValueError as error:
            # One sender's broken message must not end the listener that serves all of them.
            get_logger('tf2').error(
                f'ignoring the transform from "{child}" to "{parent}" of {authority}: {error}'
            )
            return
        sample = Sample(Time.from_msg(message.header.stamp).nanoseconds, parent, motion)
        with self._lock:
            self._parents.add(parent)
            cache = self._caches.get(child)
            if is_static:
                self._caches[child] = StaticCache(sample)
            elif isinstance(cache, MovingCache):
                cache.insert(sample)
            else:
                moving = MovingCache(self._cache_time.nanoseconds)
                moving.insert(sample)
                self._caches[child] = moving

    def _check_frame(self, argument: str, frame: str) -> None:
        what = f'Invalid argument "{frame}" passed to lookupTransform argument {argument} in tf2'
        if not frame:
            raise InvalidArgumentException(f'{what} frame_ids cannot be empty')
        if frame.startswith('/'):
            raise InvalidArgumentException(f"{what} frame_ids cannot start with a '/'")
        if frame not in self._caches and frame not in self._parents:
            raise LookupException(
                f'"{frame}" passed to lookupTransform argument {argument} does not exist. '
            )

    def _climb(self, frame: str, stamp: int) -> tuple[Chain, ExtrapolationException | None]:
        """Follow the parents up to the root, or to the first that is not known at the time."""
        chain = {frame: Motion()}
        here = frame
        while (cache := self._caches.get(here)) is not None:
            try:
                sample = cache.at(stamp)
            except ExtrapolationException as error:
                return chain, error
            if sample.parent in chain:
                raise ConnectivityException(f'The tf tree is invalid: "{here}" is in a loop')
            chain[sample.parent] = sample.motion @ chain[here]
            here = sample.parent
        return chain, None

    def _motion(self, target: str, source: str, stamp: int) -> Motion:
        if target == source:
            return Motion()
        above_source, source_error = self._climb(source, stamp)
        above_target, target_error = self._climb(target, stamp)
        for frame, frame_from_source in above_source.items():
            if frame in above_target:
                return above_target[frame].inverse() @ frame_from_source
        if error := source_error or target_error:
            raise ExtrapolationException(
                f'{error}, when looking up transform from frame [{source}] to frame [{target}]'
            )
        raise self._disconnected(target, source)

    def _latest_common_time(self, target: str, source: str) -> int:
        """Return the newest time that every frame between the two knows; 0 if all are static."""
        above_source, above_target = list(self._climb(source, 0)[0]), self._climb(target, 0)[0]
        meeting = next((frame for frame in above_source if frame in above_target), None)
        if meeting is None:
            raise self._disconnected(target, source)
        target_chain = list(above_target)
        between = (
            above_source[: above_source.index(meeting)]
            + target_chain[: target_chain.index(meeting)]
        )
        latest = (self._caches[frame].latest for frame in between)
        return min((stamp for stamp in latest if stamp is not None), default=0)

    @staticmethod
    def _disconnected(target: str, source: str) -> ConnectivityException:
        return ConnectivityException(
            f"Could not find a connection between '{target}' and '{source}' because they are not "
            'part of the same tree. Tf has two or more unconnected trees.'
        )

    def _on_time_jump(self, jump: TimeJump) -> None:
        get_logger('tf2').warning('the clock jumped: the transforms of before are forgotten')
        self.clear()
