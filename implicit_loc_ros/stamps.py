"""Order of stamps: published ones only grow, and time that jumps back starts anew."""

import threading
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
        self._lock = threading.Lock()
        self._epoch = 0
        self._last_arrived: int | None = None
        self._last_published: int | None = None

    @property
    def epoch(self) -> int:
        """Number of jumps so far."""
        return self._epoch

    def arrive(self, stamp: int) -> Arrival:
        """Classify an image by its stamp in nanoseconds; a jump begins a new epoch."""
        with self._lock:
            last = self._last_arrived
            if last is not None and last - BACKWARD_JUMP_NS <= stamp <= last:
                return Arrival.LATE
            jumped = last is not None and stamp < last
            if jumped:
                self._begin_epoch()
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

    def reset(self) -> None:
        """Forget all stamps: the clock jumped."""
        with self._lock:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self._last_arrived = None
        self._last_published = None
