"""Callers are answered once, by the first image that has a fate."""

import threading

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc_ros import waiting_callers
from implicit_loc_ros.waiting_callers import WaitingCallers


def asked(callers: WaitingCallers) -> list[tuple[bool, str]]:
    heard: list[tuple[bool, str]] = []
    callers.ask(lambda success, text: heard.append((success, text)))
    return heard


def test_an_image_that_was_overtaken_leaves_the_answer_to_the_next() -> None:
    callers = WaitingCallers()
    heard = asked(callers)
    first, second = callers.image_arrived(), callers.image_arrived()
    assert callers.take(first)
    # One image is on its way, which is enough.
    assert not callers.take(second)
    callers.decide(second, True, 'pose')
    callers.decide(first, False, 'late')
    assert heard == [(True, 'pose')]


def test_a_caller_who_comes_later_gets_a_later_image() -> None:
    callers = WaitingCallers()
    early = asked(callers)
    first = callers.image_arrived()
    assert callers.take(first)
    late = asked(callers)
    callers.decide(first, True, 'first')
    assert (early, late) == ([(True, 'first')], [])
    second = callers.image_arrived()
    assert callers.take(second)
    callers.decide(second, True, 'second')
    assert late == [(True, 'second')]


def test_a_dropped_image_is_replaced_by_the_next() -> None:
    callers = WaitingCallers()
    asked(callers)
    assert callers.take(callers.image_arrived())
    assert not callers.take(callers.image_arrived())
    callers.release()
    assert callers.take(callers.image_arrived())


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    callers = WaitingCallers()
    patient = asked(callers)
    monkeypatch.setattr(waiting_callers, 'LONGEST_WAIT_S', 0.0)
    impatient = asked(callers)
    callers.expire('nothing came')
    assert (patient, impatient) == ([], [(False, 'nothing came')])
    callers.cancel('the end')
    assert patient == [(False, 'the end')]


def test_each_caller_is_answered_once_whoever_answers() -> None:
    callers = WaitingCallers()
    heard = [asked(callers) for _ in range(200)]
    number = callers.image_arrived()
    threads = [
        threading.Thread(target=callers.decide, args=(number, True, 'pose')),
        threading.Thread(target=callers.cancel, args=('the end',)),
        threading.Thread(target=callers.expire, args=('late',)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(answers) == 1 for answers in heard)
