"""How one subscription replaces another, without DDS."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from rclpy.qos import QoSProfile, ReliabilityPolicy

from implicit_loc_ros import qos
from implicit_loc_ros.qos import FittingSubscription


class Graph:
    """A node with one publisher, whose discovery of subscriptions is told by hand.

    Args:
        known: whether the node knows of the publisher.
    """

    def __init__(self, known: bool = False) -> None:
        self.known = known
        self.subscriptions: list[SimpleNamespace] = []

    def create_subscription(
        self, kind: type, topic: str, callback: Any, profile: QoSProfile
    ) -> SimpleNamespace:
        made = SimpleNamespace(topic_name=topic, callback=callback, publishers=0)
        made.reliable = profile.reliability == ReliabilityPolicy.RELIABLE
        made.get_publisher_count = lambda: made.publishers
        self.subscriptions.append(made)
        return made

    def destroy_subscription(self, subscription: SimpleNamespace) -> None:
        self.subscriptions.remove(subscription)

    def resolve_topic_name(self, topic: str) -> str:
        return f'/{topic}'

    def count_publishers(self, topic: str) -> int:
        return int(self.known)

    def get_publishers_info_by_topic(self, topic: str) -> list[SimpleNamespace]:
        if not self.known:
            return []
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        return [SimpleNamespace(qos_profile=profile)]


class World:
    """A camera whose publisher is known, and the time."""

    def __init__(self, choice: str = 'auto') -> None:
        self.now = 100.0
        self.told: list[int] = []
        self.graph: Any = Graph(known=True)
        self.fitting: FittingSubscription[Any] = FittingSubscription(
            self.graph,
            object,
            'image',
            lambda received: self.told.append(received.header.stamp.sec),
            choice,
        )

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            self.fitting.review()

    def publish_reliably(self) -> None:
        """Let subscriptions that were best effort find the publisher."""
        self.graph.known = False
        self.fitting = FittingSubscription(self.graph, object, 'image', print)
        del self.graph.subscriptions[0]
        self.graph.known = True

    def give(self, index: int, seconds: int) -> None:
        """Let a subscription give out the message with this stamp."""
        self.graph.subscriptions[index].callback(message(seconds))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(qos, 'time', world)
    return world


def message(seconds: int) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=seconds, nanosec=0)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp))


@pytest.mark.parametrize(
    ('known', 'choice', 'reliable'),
    [
        (True, 'auto', True),
        (False, 'auto', False),
        (True, 'best_effort', False),
        (False, 'reliable', True),
    ],
)
def test_the_first_subscription_fits_the_publishers_that_are_known(
    known: bool, choice: str, reliable: bool
) -> None:
    graph: Any = Graph(known)
    FittingSubscription(graph, object, 'image', print, choice)
    assert [s.reliable for s in graph.subscriptions] == [reliable]


def test_a_subscription_lives_until_the_next_one_is_discovered(world: World) -> None:
    world.publish_reliably()
    graph, fitting = world.graph, world.fitting
    world.pass_by(0.8)
    assert [s.reliable for s in graph.subscriptions] == [False, True]
    graph.subscriptions[1].publishers = 1
    world.pass_by(0.2)
    assert [s.reliable for s in graph.subscriptions] == [True]
    fitting.destroy()
    assert not graph.subscriptions


def test_a_subscription_lives_until_publishers_can_have_discovered_the_next_one(
    world: World,
) -> None:
    world.publish_reliably()
    world.pass_by(0.2)
    world.graph.subscriptions[1].publishers = 1
    world.pass_by(0.4)
    assert [s.reliable for s in world.graph.subscriptions] == [False, True]
    world.pass_by(0.4)
    assert [s.reliable for s in world.graph.subscriptions] == [True]


def test_a_renewed_subscription_is_a_new_one_alone() -> None:
    graph: Any = Graph(known=True)
    fitting: FittingSubscription[Any] = FittingSubscription(graph, object, 'image', print)
    (first,) = graph.subscriptions
    fitting.renew()
    (second,) = graph.subscriptions
    assert second is not first
    assert second.reliable == first.reliable
    fitting.review()
    assert graph.subscriptions == [second]


def test_renewing_ends_a_replacement_that_is_under_way() -> None:
    graph: Any = Graph()
    fitting: FittingSubscription[Any] = FittingSubscription(graph, object, 'image', print)
    graph.known = True
    fitting.review()
    fitting.renew()
    assert [s.reliable for s in graph.subscriptions] == [True]


def test_one_that_is_never_discovered_does_not_keep_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qos, '_LONGEST_OVERLAP_S', 0.0)
    graph: Any = Graph()
    fitting: FittingSubscription[Any] = FittingSubscription(graph, object, 'image', print)
    graph.known = True
    fitting.review()
    fitting.review()
    assert [s.reliable for s in graph.subscriptions] == [True]


def test_what_comes_by_both_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qos, '_OVERLAP_S', 0.0)
    told: list[int] = []
    graph: Any = Graph()
    fitting: FittingSubscription[Any] = FittingSubscription(
        graph,
        object,
        'image',
        lambda received: told.append(received.header.stamp.sec),
    )
    graph.known = True
    fitting.review()
    old, new = graph.subscriptions
    for subscription, seconds in ((old, 1), (old, 2), (new, 1), (new, 2), (new, 3)):
        subscription.callback(message(seconds))
    new.publishers = 1
    fitting.review()
    # A bag that loops.
    new.callback(message(2))
    assert told == [1, 2, 3, 2]


def test_where_stamps_do_not_differ_nothing_is_lost() -> None:
    told: list[int] = []
    graph: Any = Graph()
    fitting: FittingSubscription[Any] = FittingSubscription(
        graph,
        object,
        'camera_info',
        lambda received: told.append(received.width),
        stamps_differ=False,
    )
    graph.known = True
    fitting.review()
    for width in (64, 128):
        received = message(1)
        received.width = width
        graph.subscriptions[1].callback(received)
    assert told == [64, 128]


def test_a_stream_that_pauses_is_subscribed_anew_once(world: World) -> None:
    for seconds in range(10):
        world.give(0, seconds)
        world.pass_by(0.2)
    world.pass_by(0.6)
    (first,) = world.graph.subscriptions
    world.pass_by(0.4)
    assert [s is first for s in world.graph.subscriptions] == [True, False]
    # Until it is discovered, what comes by the old one is not lost.
    world.give(0, 10)
    world.graph.subscriptions[1].publishers = 1
    world.pass_by(0.4)
    (second,) = world.graph.subscriptions
    world.pass_by(60)
    assert world.graph.subscriptions == [second]
    assert world.told == [*range(11)]


def test_what_held_up_a_stream_does_not_come_behind_what_is_newer(world: World) -> None:
    for seconds in (1, 2):
        world.give(0, seconds)
    world.pass_by(1.2)
    world.give(1, 5)
    for seconds in (3, 4):
        world.give(0, seconds)
    assert world.told == [1, 2, 5]


@pytest.mark.parametrize('apart', [0.6, 5.0])
def test_who_comes_rarely_does_not_pause(world: World, apart: float) -> None:
    (first,) = world.graph.subscriptions
    for seconds in range(5):
        world.give(0, seconds)
        world.pass_by(apart)
    world.pass_by(60)
    assert world.graph.subscriptions == [first]


def test_who_is_best_effort_is_not_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World('best_effort')
    monkeypatch.setattr(qos, 'time', world)
    (first,) = world.graph.subscriptions
    for seconds in (1, 2):
        world.give(0, seconds)
    world.pass_by(5)
    assert world.graph.subscriptions == [first]
