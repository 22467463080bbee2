"""Order of stamps: published ones only grow, and time that jumps back starts anew."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

# Images may overtake each other by less; a bag that loops or a simulation that restarts by more.
BACKWARD_JUMP_NS = 1_000_000_000


class Arrival(Enum):
    """What the stamp of an arriving image means."""

    NEXT = 'next'
    LATE = 'late'
    JUMP = 'jump'


class StampGate:
    """Decides which stamps may be answered.

    The executor's thread reports arrivals, the worker's thread asks before it publishes. Each
    jump begins a new epoch: an answer to an image from before it must not block those after it.
    """

    def __init__(self) -> None:
        # Reentrant: who holds an epoch asks for stamps in it.
        self._lock = threading.RLock()
        self._epoch = 0
        self._last_arrived: int | None = None
        self._last_published: int | None = None

    @property
    def epoch(self) -> int:
        """Number of epochs before this one."""
        return self._epoch

    def arrive(self, stamp: int) -> Arrival:
        """Classify an image by its stamp in nanoseconds; a jump begins a new epoch."""
        with self._lock:
            last = self._last_arrived
            if last is not None and last - BACKWARD_JUMP_NS <= stamp <= last:
                return Arrival.LATE
            jumped = last is not None and stamp < last
            if jumped:
                self.reset()
            self._last_arrived = stamp
            return Arrival.JUMP if jumped else Arrival.NEXT

    def may_publish(self, stamp: int, epoch: int) -> bool:
        """Whether an answer is still wanted; remembers it as published."""
        with self._lock:
            if epoch != self._epoch:
                return False
            if self._last_published is not None and stamp <= self._last_published:
                return False
            self._last_published = stamp
            return True

    @contextmanager
    def held(self, epoch: int) -> Iterator[bool]:
        """Whether an epoch lasts; no other one begins within the context."""
        with self._lock:
            yield epoch == self._epoch

    def begin_epoch(self) -> None:
        """Answers to images that arrived so far are no longer wanted; stamps go on growing."""
        with self._lock:
            self._epoch += 1

    def reset(self) -> None:
        """Forget all stamps: the clock jumped."""
        with self._lock:
            self._epoch += 1
            self._last_arrived = None
            self._last_published = None


class RateLimit:
    """Takes so many stamps that a rate is kept on average, however they fall on its beat."""

    def __init__(self) -> None:
        self._due: int | None = None

    def takes(self, stamp: int, max_rate: float) -> bool:
        """Whether an image is among those to look at.

        Args:
            stamp: nanoseconds, after those before it.
            max_rate: images per second of their stamps; 0 for all.
        """
        if max_rate <= 0:
            self._due = None
            return True
        period = round(1e9 / max_rate)
        due = stamp if self._due is None else self._due
        if stamp < due:
            return False
        # What was not used before does not come as a burst later.
        self._due = max(due, stamp - period) + period
        return True
