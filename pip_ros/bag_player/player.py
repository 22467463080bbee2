"""Publishing a recording at the pace at which it was recorded."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from threading import Event
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from bag_player.recording import BagError, Message, Recording, Topic
from bag_player.stamps import shifted

# Subscribers learn of a publisher a moment after it learns of them, and take its messages later.
SETTLING_S = 0.3
POLLING_S = 0.02
# The longest wait for readers to confirm the last messages.
CONFIRMING_S = 2.0
QUEUE = 100


@dataclass(frozen=True)
class Options:
    """How to play.

    Attributes:
        rate: seconds of the recording per second.
        loop: begin anew at the end.
        start_s: seconds of the recording to leave out.
        topics: what to play; empty plays all.
        clock_hz: how often to publish /clock; 0 does not.
        restamp: move the stamps inside the messages to the time of playing.
        awaited: topics that must have a subscriber before the first message; None awaits none,
            empty awaits all that are played.
        patience_s: how long to wait for subscribers.
    """

    rate: float = 1.0
    loop: bool = False
    start_s: float = 0.0
    topics: tuple[str, ...] = ()
    clock_hz: float = 0.0
    restamp: bool = False
    awaited: tuple[str, ...] | None = None
    patience_s: float = 30.0


@dataclass
class Player:
    """Publishes one recording.

    Args:
        recording: open recording.
        node: whose publishers they are; it does not need to spin.
        options: how to play.
        stop: set it to end the playing.
        warn: takes one line for each topic that cannot be played.
    """

    recording: Recording
    node: Node
    options: Options
    stop: Event
    warn: Callable[[str], None]
    published: int = 0
    _types: dict[str, Any] = field(default_factory=dict)
    _publishers: dict[str, Publisher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._latched: set[str] = set()
        for topic in self._chosen_topics():
            message_type = _find_type(topic.type_name)
            if message_type is None:
                self.warn(f'{topic.name} is left out: {topic.type_name} is not installed')
                continue
            self._types[topic.name] = message_type
            self._publishers[topic.name] = self.node.create_publisher(
                message_type, topic.name, _profile(topic)
            )
            if topic.is_latched:
                self._latched.add(topic.name)
        if not self._publishers:
            raise BagError(f'{self.recording.path} has nothing to play')
        if self.options.start_s > self.recording.duration_s:
            raise BagError(
                f'start is at {self.options.start_s:g} s, '
                f'{self.recording.path} ends after {self.recording.duration_s:.3f} s'
            )
        self._clock = (
            self.node.create_publisher(Clock, '/clock', QUEUE) if self.options.clock_hz else None
        )

    def play(self) -> None:
        """Publish until the end of the recording; in a loop, until told to stop.

        Raises:
            BagError: the recording is damaged, or awaited subscribers do not come.
        """
        self._await_subscribers()
        self._play_once()
        while self.options.loop and not self.stop.is_set():
            self._play_once()
        # A writer that goes away takes with it what its readers have not taken yet. Reliable ones
        # are told; the others can only be given a moment.
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=CONFIRMING_S))
        self.stop.wait(SETTLING_S)

    def _chosen_topics(self) -> list[Topic]:
        recorded = {topic.name: topic for topic in self.recording.topics()}
        chosen = self.options.topics or tuple(recorded)
        for name in (*chosen, *(self.options.awaited or ())):
            if name not in recorded:
                known = ', '.join(recorded) or 'nothing'
                raise BagError(f'{name} is not in {self.recording.path}, which has {known}')
        return [recorded[name] for name in chosen]

    def _await_subscribers(self) -> None:
        if self.options.awaited is None:
            return
        names = self.options.awaited or tuple(self._publishers)
        deadline = time.monotonic() + self.options.patience_s
        while lonely := [name for name in names if not self._has_subscriber(name)]:
            if time.monotonic() > deadline:
                raise BagError(
                    f'nobody subscribed to {", ".join(lonely)} in {self.options.patience_s:g} s'
                )
            if self.stop.wait(POLLING_S):
                return
        self.stop.wait(SETTLING_S)

    def _has_subscriber(self, name: str) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and publisher.get_subscription_count() > 0

    def _play_once(self) -> None:
        first = self.recording.start + int(self.options.start_s * 1e9)
        self._publish_latched_before(first)
        begin = time.monotonic()
        begin_stamp = time.time_ns()

        def shift(stamp: int) -> int:
            return begin_stamp + int((stamp - first) / self.options.rate)

        for event in self._with_clock(first):
            due = begin + (event.stamp - first) / 1e9 / self.options.rate
            if self.stop.wait(max(0.0, due - time.monotonic())):
                return
            if event.topic == '/clock' and self._clock is not None:
                self._clock.publish(Clock(clock=Time(nanoseconds=event.stamp).to_msg()))
                continue
            data = event.data
            if self.options.restamp:
                data = shifted(data, self._types[event.topic], shift)
            # rclpy sends bytes as they are: no message is taken apart and put together again.
            self._publishers[event.topic].publish(data)
            self.published += 1

    def _publish_latched_before(self, first: int) -> None:
        """Send the static transforms and the like that were recorded before the start."""
        if self.options.start_s == 0 or not self._latched:
            return
        for message in self.recording.messages(self._latched):
            if message.stamp >= first:
                return
            self._publishers[message.topic].publish(message.data)

    def _with_clock(self, first: int) -> Iterator[Message]:
        """Yield the recording's messages and, if it is wanted, ticks of the clock among them."""
        tick = first
        for message in self.recording.messages(set(self._publishers) - {'/clock'}, first):
            while self._clock is not None and tick <= message.stamp:
                yield Message('/clock', tick, b'')
                # Ticks keep their pace in real time, whatever the rate.
                tick += int(1e9 / self.options.clock_hz * self.options.rate)
            yield message


def _find_type(type_name: str) -> Any | None:
    """Return the rclpy class of a type such as 'sensor_msgs/msg/Image', None if there is none."""
    package, _, name = type_name.replace('/msg/', '/').partition('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError):
        return None


def _profile(topic: Topic) -> QoSProfile:
    return QoSProfile(
        depth=QUEUE,
        reliability=(
            ReliabilityPolicy.RELIABLE if topic.is_reliable else ReliabilityPolicy.BEST_EFFORT
        ),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if topic.is_latched else DurabilityPolicy.VOLATILE
        ),
    )
