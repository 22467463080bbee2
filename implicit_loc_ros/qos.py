"""Subscriptions that fit their publishers."""

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

Message = TypeVar('Message')

# The executor only receives; a few messages bridge a moment in which it is not scheduled.
_DEPTH = 5

# Whether a publisher has discovered a new subscription, it does not say: the old one lives for so
# long, or for so long where the new one has not discovered every publisher.
_OVERLAP_S, _LONGEST_OVERLAP_S = 0.5, 2.0
# Messages of that time that may come twice: so many of a fast camera.
_REMEMBERED = 512
# A stream of messages, at most so far apart, that pauses for so long, is held up or has ended.
_STREAM_S = 0.5
_PAUSE_S = 1.0


class FittingSubscription(Generic[Message]):
    """A subscription to a stamped message, reliable exactly if every publisher is.

    A reliable subscription gets nothing from a best-effort publisher, and a best-effort one
    loses large images. Publishers may appear later or change: call `review` now and then.

    What was lost, a reliable Fast DDS subscription asks for after the publisher's next heartbeat,
    3 s by default, and it gives out nothing newer before: a stream that pauses is subscribed anew.

    Args:
        node: that subscribes.
        kind: class of the message; it has a header.
        topic: relative or absolute; remapped as usual.
        callback: gets each message.
        choice: 'auto', 'reliable' or 'best_effort'.
        stamps_differ: whether messages of one stamp are the same one; where they may be others,
            some come twice while one subscription replaces another.
    """

    def __init__(
        self,
        node: Node,
        kind: type[Message],
        topic: str,
        callback: Callable[[Message], None],
        choice: str = 'auto',
        stamps_differ: bool = True,
    ) -> None:
        self._node = node
        self._kind = kind
        self._topic = topic
        self._callback = callback
        self._choice = choice
        self._stamps_differ = stamps_differ
        self._stamps: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._retired: Any = None
        self._replaced_at = 0.0
        # Subscriptions made so far, and the newest of those that have given out anything.
        self._made = self._speaks = 0
        self._came_at, self._apart_s = -math.inf, math.inf
        # Of publishers that are known already, no message is lost to a change later.
        self.reliable = choice == 'reliable' or bool(self._asked_for())
        self._subscription = self._subscribe()

    @property
    def topic_name(self) -> str:
        """The topic's full name, remapped."""
        return str(self._subscription.topic_name)

    def publisher_count(self) -> int:
        """How many publishers the graph shows."""
        return int(self._node.count_publishers(self.topic_name))

    def review(self) -> bool:
        """Subscribe anew if publishers ask for another reliability, or a stream pauses.

        Returns:
            Whether it paused.
        """
        if self._retired is not None and self._may_part():
            self._part()
        reliable = self._asked_for()
        if reliable is not None and reliable != self.reliable:
            self.reliable = reliable
            self._replace()
            return False
        pauses = self._pauses()
        if pauses:
            self._replace()
        return pauses

    def renew(self) -> None:
        """Subscribe anew, beginning with the newest message: the process has missed some."""
        self._apart_s = math.inf
        self._retire()
        # It would give out later what is old by then.
        self._part()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._part()
        self._node.destroy_subscription(self._subscription)

    def _asked_for(self) -> bool | None:
        """Whether the publishers ask for a reliable subscription; None if nobody asks."""
        if self._choice != 'auto':
            return None
        topic = self._node.resolve_topic_name(self._topic)
        publishers = self._node.get_publishers_info_by_topic(topic)
        offered = {info.qos_profile.reliability for info in publishers}
        return offered == {ReliabilityPolicy.RELIABLE} if offered else None

    def _may_part(self) -> bool:
        discovered = self._subscription.get_publisher_count() >= max(self.publisher_count(), 1)
        overlap_s = time.monotonic() - self._replaced_at
        return overlap_s >= (_OVERLAP_S if discovered else _LONGEST_OVERLAP_S)

    def _pauses(self) -> bool:
        """Whether a stream has just paused; once a pause."""
        pauses = self._apart_s < _STREAM_S and time.monotonic() - self._came_at > _PAUSE_S
        if pauses:
            self._apart_s = math.inf
        return pauses and self.reliable

    def _replace(self) -> None:
        """The old subscription lives until the publishers have discovered the new one.

        Images would be lost meanwhile.
        """
        self._retire()
        self._replaced_at = time.monotonic()
        self._stamps.clear()

    def _retire(self) -> None:
        """Let a new subscription follow the one in use, which is told to part later."""
        self._part()
        self._retired, self._subscription = self._subscription, self._subscribe()

    def _part(self) -> None:
        """From the subscription that does not fit any more."""
        if self._retired is not None:
            self._node.destroy_subscription(self._retired)
        self._retired = None

    def _subscribe(self) -> Any:
        policy = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=_DEPTH, reliability=policy)
        self._made += 1
        receive = partial(self._receive, self._made)
        return self._node.create_subscription(self._kind, self._topic, receive, profile)

    def _receive(self, number: int, message: Any) -> None:
        """Take a message of the subscription that was the n-th."""
        # What a retired one was held up with, is older than what its successor gives out.
        if number < self._speaks:
            return
        self._speaks = number
        now = time.monotonic()
        # While two subscriptions live, each message may come twice.
        if self._retired is None:
            self._apart_s = now - self._came_at
        self._came_at = now
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        # Later, equal stamps are those of a bag that loops.
        if self._stamps_differ and self._retired is not None:
            if stamp in self._stamps:
                return
            self._stamps.append(stamp)
        self._callback(message)
