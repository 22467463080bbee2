"""What counts as a standstill of the process, and what the node says after one."""

import time

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from pipeline_rig import INPUTS

from implicit_loc_ros import counting, standstill
from implicit_loc_ros.counting import Statistics
from implicit_loc_ros.diagnostics import status_of
from implicit_loc_ros.standstill import STANDSTILL_S, StandstillWatch


class Clock:
    """A clock that is told what it shows."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock_gettime(self, number: int) -> float:
        assert time.clock_gettime(number) > 0
        return self.now

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (standstill, counting):
        monkeypatch.setattr(module, 'time', clock)
    return clock


def test_reviews_that_come_a_little_late_are_none(clock: Clock) -> None:
    watch = StandstillWatch()
    for gap_s in (0.2, 0.0, 0.2 + STANDSTILL_S / 2, 0.2):
        clock.now += gap_s
        assert watch.review() == 0.0


def test_a_standstill_is_told_once_with_its_length(clock: Clock) -> None:
    watch = StandstillWatch()
    for stood_s in (2.5, 3600.0):
        clock.now += 0.2
        assert watch.review() == 0.0
        clock.now += stood_s
        assert watch.review() == pytest.approx(stood_s)
        assert watch.review() == 0.0


def test_silence_since_a_standstill_has_a_remedy_of_its_own(clock: Clock) -> None:
    """A subscription may have been lost; a camera that merely stops is another matter."""
    statistics = Statistics()

    def message_after(seconds: float) -> str:
        clock.now += seconds
        return str(status_of('node', statistics.summary(), INPUTS).message)

    statistics.image_received(1)
    clock.now += 10
    statistics.stood_still()
    assert 'no image' not in message_after(0)
    assert 'since the process stood still' in message_after(3)
    statistics.image_received(2)
    assert 'no image' not in message_after(0)
    assert 'check the remapping' in message_after(3)
