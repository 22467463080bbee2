"""What is known of one frame: its parent and its motion there, over time."""

from bisect import bisect_left
from dataclasses import dataclass

from tf2_ros.exceptions import ExtrapolationException
from tf2_ros.motion import Motion


@dataclass(frozen=True)
class Sample:
    """The frame's parent at one time and parent_from_frame; stamp in nanoseconds."""

    stamp: int
    parent: str
    motion: Motion


def seconds(stamp: int) -> str:
    """Return nanoseconds as seconds with all their digits."""
    return f'{stamp // 10**9}.{stamp % 10**9:09d}'


class StaticCache:
    """A frame that never moves in its parent: its newest sample holds at all times."""

    latest: int | None = None

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def insert(self, sample: Sample) -> None:
        """Replace what was known."""
        self._sample = sample

    def at(self, stamp: int) -> Sample:
        """Return the sample, whatever the time."""
        return self._sample


class MovingCache:
    """A frame that moves: samples in order of time, none older than `duration` nanoseconds."""

    def __init__(self, duration: int) -> None:
        self._duration = duration
        self._stamps: list[int] = []
        self._samples: list[Sample] = []

    @property
    def latest(self) -> int:
        """Stamp of the newest sample."""
        return self._stamps[-1]

    def insert(self, sample: Sample) -> None:
        """Add a sample; one too old, or of a time that is known already, is left out as in tf2."""
        if self._stamps and sample.stamp < self.latest - self._duration:
            return
        index = bisect_left(self._stamps, sample.stamp)
        if index < len(self._stamps) and self._stamps[index] == sample.stamp:
            return
        self._stamps.insert(index, sample.stamp)
        self._samples.insert(index, sample)
        expired = bisect_left(self._stamps, self.latest - self._duration)
        del self._stamps[:expired], self._samples[:expired]

    def at(self, stamp: int) -> Sample:
        """Return the sample at a time, interpolated between its neighbours.

        Args:
            stamp: nanoseconds; 0 means the newest sample.

        Raises:
            ExtrapolationException: the time lies before the oldest or after the newest sample.
        """
        if stamp == 0:
            return self._samples[-1]
        index = bisect_left(self._stamps, stamp)
        if index < len(self._stamps) and self._stamps[index] == stamp:
            return self._samples[index]
        self._refuse_outside(stamp)
        before, after = self._samples[index - 1], self._samples[index]
        if before.parent != after.parent:
            return before
        ratio = (stamp - before.stamp) / (after.stamp - before.stamp)
        return Sample(stamp, before.parent, before.motion.towards(after.motion, ratio))

    def _refuse_outside(self, stamp: int) -> None:
        oldest, latest = self._stamps[0], self._stamps[-1]
        if oldest <= stamp <= latest:
            return
        if oldest == latest:
            raise ExtrapolationException(
                f'Lookup would require extrapolation at time {seconds(stamp)}, '
                f'but only time {seconds(latest)} is in the buffer'
            )
        if stamp > latest:
            raise ExtrapolationException(
                'Lookup would require extrapolation into the future.  Requested time '
                f'{seconds(stamp)} but the latest data is at time {seconds(latest)}'
            )
        raise ExtrapolationException(
            'Lookup would require extrapolation into the past.  Requested time '
            f'{seconds(stamp)} but the earliest data is at time {seconds(oldest)}'
        )
