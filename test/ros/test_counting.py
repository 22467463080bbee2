"""What is counted; tests of the diagnostics say what follows from it."""

from types import SimpleNamespace

import pytest

from implicit_loc_ros import counting
from implicit_loc_ros.counting import Statistics, Trust

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
