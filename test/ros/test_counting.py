"""What is counted; tests of the diagnostics say what follows from it."""

from types import SimpleNamespace

import pytest

from implicit_loc_ros import counting
from implicit_loc_ros.counting import Statistics, Trust

SECOND = 1_000_000_000
TRUST = Trust(confidence=0.9, deviation_m=0.02, deviation_rad=0.01)


def test_the_first_pose_is_timed_from_the_activation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, whatever comes later; and so is the first image, for which the node may wait long."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(counting.time, 'monotonic', lambda: clock.now)
    statistics = Statistics()

    def found() -> tuple[float | None, float | None]:
        summary = statistics.summary()
        return summary.first_image_s, summary.first_pose_s

    assert found() == (None, None)
    clock.now += 2
    statistics.image_received(1)
    clock.now += 0.5
    statistics.refused('alignment', 'dark')
    assert found() == (2, None)
    for _ in range(2):
        statistics.image_received(2)
        clock.now += 0.25
        statistics.answered(TRUST, {}, 0.02)
        assert found() == (2, 2.75)


def test_images_missed_in_a_standstill_are_not_taken_for_lost_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(counting.time, 'monotonic', lambda: clock.now)
    statistics = Statistics()

    def film(seconds: float) -> None:
        for _ in range(round(10 * seconds)):
            clock.now += 0.1
            statistics.image_received(round(clock.now * SECOND))

    film(1)
    clock.now += 3
    statistics.stood_still()
    assert statistics.summary().made_hz == 0
    film(5)
    summary = statistics.summary()
    assert summary.counts.standstills == 1
    assert summary.arrived_hz == pytest.approx(summary.made_hz) == pytest.approx(10)
