"""What the log says of the runtime."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc.runtimes import RuntimeStatus
from implicit_loc_ros import throttled_log
from implicit_loc_ros.runtime_watch import RuntimeWatch
from implicit_loc_ros.throttled_log import ThrottledLog

EAGER = RuntimeStatus('eager PyTorch', 'pip install onnxruntime')
FAST = RuntimeStatus('onnxruntime')


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    told = SimpleNamespace(lines=[], now=100.0)
    monkeypatch.setattr(throttled_log.time, 'monotonic', lambda: told.now)
    logger = SimpleNamespace(
        info=lambda text: told.lines.append(('info', text)),
        warning=lambda text: told.lines.append(('warning', text)),
    )
    told.watch = RuntimeWatch(ThrottledLog(logger))
    return told


def localizer(status: RuntimeStatus) -> Any:
    return SimpleNamespace(runtime=status)


def test_a_reason_is_told_once_and_so_is_its_end(told: SimpleNamespace) -> None:
    used = localizer(EAGER)
    told.watch.begin(used)
    for _ in range(3):
        told.now += 2
        told.watch.review(used)
    assert told.lines == [
        ('warning', 'the network runs on eager PyTorch: pip install onnxruntime')
    ]
    used.runtime = FAST
    told.watch.review(used)
    assert told.lines[1:] == [('info', 'the network runs on onnxruntime')]


def test_where_nothing_is_wrong_nothing_is_told(told: SimpleNamespace) -> None:
    told.watch.begin(localizer(FAST))
    told.watch.review(localizer(FAST))
    assert not told.lines


def test_each_map_has_its_reason(told: SimpleNamespace) -> None:
    told.watch.begin(localizer(EAGER))
    told.now += 2
    told.watch.review(localizer(EAGER))
    assert len(told.lines) == 2


def test_what_the_log_swallows_is_told_later(told: SimpleNamespace) -> None:
    used = localizer(EAGER)
    told.watch.begin(used)
    used.runtime = RuntimeStatus('eager PyTorch', 'the GPU has failed')
    told.watch.review(used)
    assert len(told.lines) == 1
    told.now += 2
    told.watch.review(used)
    assert 'the GPU has failed' in told.lines[1][1]
