"""Notes what arrives over DDS, and when."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

# More than arrives while this process is not scheduled for seconds.
QUEUE = 1000


@dataclass(frozen=True)
class Arrival:
    """A received message.

    Attributes:
        topic: its topic.
        time: when it arrived, nanoseconds of the wall clock.
        data: CDR.
    """

    topic: str
    time: int
    data: bytes


class Collector:
    """Subscribes to topics; use it in a with statement.

    Messages are taken as bytes, so that taking them apart delays none.

    Args:
        types: message type by topic.
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.arrivals: list[Arrival] = []
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('replay_collector', context=self._context)
        for topic, kind in types.items():
            take = partial(self._take, topic)
            self._node.create_subscription(
                _class(kind), topic, take, QoSProfile(depth=QUEUE), raw=True
            )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self) -> 'Collector':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def receive(self, seconds: float) -> None:
        """Take what arrives in this time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    @contextmanager
    def looking_at(self, types: Mapping[str, str]) -> Iterator[None]:
        """Subscribe to more topics meanwhile, message type by topic; what comes is not kept."""
        subscriptions = [
            self._node.create_subscription(_class(kind), topic, _forget, 1, raw=True)
            for topic, kind in types.items()
        ]
        try:
            yield
        finally:
            for subscription in subscriptions:
                self._node.destroy_subscription(subscription)

    def is_subscribed(self, node_name: str, topic: str) -> bool:
        """Whether a node of this name listens to a topic."""
        listeners = self._node.get_subscriptions_info_by_topic(topic)
        return any(listener.node_name == node_name for listener in listeners)

    def count(self, topic: str) -> int:
        """How many messages of a topic have arrived."""
        return sum(arrival.topic == topic for arrival in self.arrivals)

    def _take(self, topic: str, data: bytes) -> None:
        self.arrivals.append(Arrival(topic, time.time_ns(), data))


def _forget(data: bytes) -> None:
    """Of a listener for whom messages are made."""


def _class(type_name: str) -> Any:
    package, _, name = type_name.partition('/msg/')
    return getattr(import_module(f'{package}.msg'), name)
