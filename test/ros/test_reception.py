"""Which images are handed on: in pauses, at jumps, and before the first CameraInfo."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc_ros import reception
from implicit_loc_ros.counting import Statistics, Summary
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pipeline import Frame
from implicit_loc_ros.reception import Reception, Ways
from implicit_loc_ros.stamps import StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.waiting_callers import WaitingCallers

SECOND = 1_000_000_000


class Rig:
    """A reception whose messages are given by hand."""

    def __init__(self, messages: SimpleNamespace, **parameters: Any) -> None:
        self._messages = messages
        self._callbacks: dict[str, Any] = {}
        self.frames: list[Frame] = []
        self.told: list[tuple[bool, str]] = []
        self.gate, self.callers, self.statistics = StampGate(), WaitingCallers(), Statistics()
        values = Parameters(**parameters)
        log = ThrottledLog(SimpleNamespace(warning=lambda text: None))
        node: Any = SimpleNamespace(
            create_subscription=self._subscribe,
            get_publishers_info_by_topic=lambda topic: [],
            resolve_topic_name=lambda topic: f'/{topic}',
        )
        self.reception = Reception(
            node,
            lambda: values,
            self.gate,
            self.callers,
            self.statistics,
            log,
            Ways(submit=self._submit, jumped=lambda what: self.reception.restart()),
        )

    def _subscribe(self, kind: type, topic: str, callback: Any, profile: Any) -> SimpleNamespace:
        self._callbacks[topic] = callback
        return SimpleNamespace(topic_name=f'/{topic}')

    def _submit(self, frame: Frame) -> bool:
        self.frames.append(frame)
        return False

    def image(self, stamp: int) -> None:
        self._callbacks['image'](self._messages.image(stamp))

    def camera_info(self) -> None:
        self._callbacks['camera_info'](self._messages.camera_info())

    def ask(self) -> None:
        self.callers.ask(lambda success, text: self.told.append((success, text)))

    def summary(self) -> Summary:
        return self.statistics.summary()


@pytest.fixture
def rig(messages: SimpleNamespace) -> Rig:
    return Rig(messages)


def test_an_image_that_waits_for_its_camera_info_is_dropped_by_a_pause(rig: Rig) -> None:
    rig.image(SECOND)
    rig.reception.enabled = False
    rig.camera_info()
    rig.reception.enabled = True
    rig.camera_info()
    assert not rig.frames
    assert rig.summary().counts.skipped == {'paused': 1}


def test_an_image_that_waits_belongs_to_the_epoch_of_its_arrival(rig: Rig) -> None:
    rig.image(SECOND)
    arrived = rig.gate.epoch
    rig.gate.begin_epoch()
    rig.camera_info()
    assert [frame.epoch for frame in rig.frames] == [arrived] != [rig.gate.epoch]


def test_after_a_jump_another_image_answers_who_waits(messages: SimpleNamespace) -> None:
    rig = Rig(messages, mode='on_demand')
    rig.ask()
    rig.image(100 * SECOND)
    rig.image(10 * SECOND)
    rig.camera_info()
    assert [frame.stamp for frame in rig.frames] == [10 * SECOND]
    assert rig.summary().counts.refused == {'stale': 1}
    assert not rig.told


def test_on_demand_without_camera_info_that_is_named(
    messages: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(messages, mode='on_demand')
    assert rig.reception.missing == 'image on /image'
    rig.ask()
    for number in range(3):
        rig.image((number + 1) * SECOND)
    rig.reception.review()
    assert rig.reception.missing == 'CameraInfo on /camera_info'
    assert not rig.told
    # An image that nobody waits for any more is not looked at when a CameraInfo comes at last.
    monkeypatch.setattr(reception, 'LONGEST_WAIT_S', -1.0)
    rig.reception.review()
    assert rig.told == [(False, 'no CameraInfo: no CameraInfo has come on /camera_info')]
    rig.camera_info()
    assert not rig.frames
    assert rig.summary().counts.refused == {'no CameraInfo': 1}
