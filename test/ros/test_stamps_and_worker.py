"""Order of stamps, and the thread that takes the newest item."""

import random
import threading

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc_ros.stamps import Arrival, RateLimit, StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.worker import NewestItemWorker

SECOND = 1_000_000_000


def test_stamps_must_grow() -> None:
    gate = StampGate()
    assert gate.arrive(10 * SECOND) is Arrival.NEXT
    assert gate.arrive(10 * SECOND) is Arrival.LATE
    assert gate.arrive(9 * SECOND) is Arrival.LATE
    assert gate.arrive(10 * SECOND + 1) is Arrival.NEXT


def test_a_pose_is_published_once_and_in_order() -> None:
    gate = StampGate()
    assert gate.may_publish(5, gate.epoch)
    assert not gate.may_publish(5, gate.epoch)
    assert not gate.may_publish(4, gate.epoch)
    assert gate.may_publish(6, gate.epoch)


def test_an_answer_from_before_a_jump_does_not_block_those_after_it() -> None:
    gate = StampGate()
    gate.arrive(100 * SECOND)
    before = gate.epoch
    assert gate.arrive(50 * SECOND) is Arrival.JUMP
    assert not gate.may_publish(100 * SECOND, before)
    assert gate.may_publish(50 * SECOND, gate.epoch)


def test_a_jump_of_the_clock_starts_anew() -> None:
    gate = StampGate()
    gate.arrive(100 * SECOND)
    gate.may_publish(100 * SECOND, gate.epoch)
    gate.reset()
    assert gate.arrive(99 * SECOND + SECOND // 2) is Arrival.NEXT
    assert gate.may_publish(99 * SECOND + SECOND // 2, gate.epoch)


def test_the_worker_takes_the_newest_item_only() -> None:
    seen: list[int] = []
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def handle(item: int) -> None:
        seen.append(item)
        started.set()
        go_on.wait(10)
        if item == 4:
            done.set()

    worker = NewestItemWorker(handle)
    assert not worker.submit(1)
    assert started.wait(10)
    assert [worker.submit(item) for item in (2, 3, 4)] == [False, True, True]
    go_on.set()
    assert done.wait(10)
    assert worker.stop()
    assert seen == [1, 4]


def test_the_worker_prepares_its_own_thread_while_images_overtake() -> None:
    seen: list[int] = []
    threads: list[int] = []
    go_on, done = threading.Event(), threading.Event()

    def prepare() -> None:
        threads.append(threading.get_ident())
        go_on.wait(10)

    def handle(item: int) -> None:
        threads.append(threading.get_ident())
        seen.append(item)
        done.set()

    worker = NewestItemWorker(handle, prepare=prepare)
    assert [worker.submit(item) for item in (1, 2, 3)] == [False, True, True]
    assert not seen
    go_on.set()
    assert done.wait(10)
    assert worker.stop()
    assert seen == [3]
    assert threads[0] == threads[1] != threading.get_ident()


def test_a_stopped_worker_drops_what_waits() -> None:
    seen: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        seen.append(item)
        started.set()
        go_on.wait(10)

    worker = NewestItemWorker(handle)
    worker.submit(1)
    started.wait(10)
    worker.submit(2)
    assert not worker.stop(timeout_s=0.01)
    go_on.set()
    assert worker.stop()
    assert seen == [1]


def test_each_cause_is_logged_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Logger:
        warning = error = staticmethod(lines.append)

    now = 100.0
    monkeypatch.setattr('implicit_loc_ros.throttled_log.time.monotonic', lambda: now)
    log = ThrottledLog(Logger())
    for _ in range(3):
        log.warning('image', 'a')
        log.error('camera', 'b')
    now += 1.1
    log.warning('image', 'c')
    assert lines == ['a', 'b', 'c']


def test_a_new_epoch_refuses_what_came_before_and_keeps_the_order() -> None:
    gate = StampGate()
    gate.arrive(5 * SECOND)
    before = gate.epoch
    assert gate.may_publish(5 * SECOND, before)
    gate.begin_epoch()
    assert not gate.may_publish(6 * SECOND, before)
    assert gate.arrive(4 * SECOND + 1) is Arrival.LATE
    assert not gate.may_publish(5 * SECOND, gate.epoch)


def test_an_epoch_that_is_held_ends_afterwards() -> None:
    gate = StampGate()
    ended = threading.Event()
    with gate.held(gate.epoch) as is_current:
        assert is_current
        other = threading.Thread(target=lambda: (gate.begin_epoch(), ended.set()), daemon=True)
        other.start()
        assert not ended.wait(0.1)
        assert gate.may_publish(1, gate.epoch)
    assert ended.wait(5)
    with gate.held(gate.epoch - 1) as is_current:
        assert not is_current


@pytest.mark.parametrize('camera_hz', [10.0, 29.97, 30.0, 60.0])
@pytest.mark.parametrize('max_rate', [1.0, 7.0, 25.0])
def test_a_rate_is_kept_on_average(camera_hz: float, max_rate: float) -> None:
    limit = RateLimit()
    jitter = random.Random(0)
    stamps = [round((i / camera_hz + jitter.uniform(0, 0.005)) * SECOND) for i in range(600)]
    taken = [stamp for stamp in stamps if limit.takes(stamp, max_rate)]
    seconds = (stamps[-1] - stamps[0]) / SECOND
    assert len(taken) / seconds == pytest.approx(min(max_rate, camera_hz), rel=0.05)


def test_a_pause_gives_no_burst() -> None:
    limit = RateLimit()
    assert limit.takes(0, 2.0)
    stamps = [100 * SECOND + i * SECOND // 10 for i in range(10)]
    assert [limit.takes(stamp, 2.0) for stamp in stamps].count(True) <= 3


def test_without_a_rate_every_image_is_taken() -> None:
    limit = RateLimit()
    assert all(limit.takes(stamp, 0.0) for stamp in range(10))
