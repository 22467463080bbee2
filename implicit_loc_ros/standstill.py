"""Notices that the process stood still: it was stopped, swapped out, or the computer slept."""

import time

# Longest time between two reviews, 0.2 s apart, of a process that runs on a busy machine.
STANDSTILL_S = 0.7

# The monotonic clock stands still with a computer that sleeps; only Linux has one that does not.
_CLOCK = getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)


class StandstillWatch:
    """Judges by the time between its reviews, which nobody sets and no simulation changes."""

    def __init__(self) -> None:
        self._reviewed_at = time.clock_gettime(_CLOCK)

    def review(self) -> float:
        """Call it now and then; seconds since the last call if they mean a standstill, else 0."""
        before, self._reviewed_at = self._reviewed_at, time.clock_gettime(_CLOCK)
        gap_s = self._reviewed_at - before
        return gap_s if gap_s > STANDSTILL_S else 0.0
