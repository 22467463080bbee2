"""Callers who wait for what becomes of the next image."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_WAIT_S = 5.0

# Gets whether there is a pose, and the pose or the reason in words.
Answer = Callable[[bool, str], None]


@dataclass
class _Caller:
    """A caller.

    Attributes:
        answer: to be called once.
        first: number of the first image that can answer.
        deadline: time.monotonic() until which the caller waits.
        taken: whether an image is on its way for this caller.
    """

    answer: Answer
    first: int
    deadline: float
    taken: bool = False


class WaitingCallers:
    """Numbers images as they arrive, and answers who waited with the fate of the first after.

    An image that a newer one overtakes has no fate: the newer one answers. Any thread may call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[_Caller] = []
        self._last = 0

    def image_arrived(self) -> int:
        """Number of an image that has just arrived."""
        with self._lock:
            self._last += 1
            return self._last

    def ask(self, answer: Answer) -> None:
        """Wait for an image that arrives from now on."""
        with self._lock:
            deadline = time.monotonic() + LONGEST_WAIT_S
            self._open.append(_Caller(answer, self._last + 1, deadline))

    def take(self, number: int) -> bool:
        """Whether somebody waits for this image, and for no earlier one that is on its way."""
        with self._lock:
            waiting = [c for c in self._open if not c.taken and c.first <= number]
            for caller in waiting:
                caller.taken = True
            return bool(waiting)

    def release(self) -> None:
        """Images on their way may be dropped: the next one is for everybody who waits."""
        with self._lock:
            for caller in self._open:
                caller.taken = False

    def decide(self, number: int, success: bool, text: str) -> None:
        """Answer everybody who waits for this image or for one before it."""
        self._answer(lambda caller: caller.first <= number, success, text)

    def expire(self, text: str) -> None:
        """Answer those who have waited long enough."""
        now = time.monotonic()
        self._answer(lambda caller: caller.deadline <= now, False, text)

    def cancel(self, text: str) -> None:
        """Answer everybody: no image will."""
        self._answer(lambda caller: True, False, text)

    def _answer(self, concerns: Callable[[_Caller], bool], success: bool, text: str) -> None:
        with self._lock:
            done = [caller for caller in self._open if concerns(caller)]
            self._open = [caller for caller in self._open if not concerns(caller)]
        for caller in done:
            caller.answer(success, text)
