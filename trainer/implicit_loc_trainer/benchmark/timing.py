"""Timing several candidates in turns, so that whatever else the machine does meets them all."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from implicit_loc_trainer.benchmark.candidates import Run, Subject
from implicit_loc_trainer.benchmark.views import View

WARM_UP = 3


@dataclass
class Times:
    """Seconds of one candidate, image by image.

    Attributes:
        total: from the image to the answer.
        stages: of the parts, each over the images that needed it.
    """

    total: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def add(self, total: float, stages: Mapping[str, float]) -> None:
        """Note one image."""
        self.total.append(total)
        for name, seconds in stages.items():
            self.stages.setdefault(name, []).append(seconds)


@dataclass(frozen=True)
class Distribution:
    """Milliseconds over the images, and images per second one after the other."""

    median_ms: float
    p95_ms: float
    p99_ms: float
    images_per_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> 'Distribution':
        """Of at least one image."""
        milliseconds = 1e3 * np.array(seconds)
        median, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
        return cls(float(median), float(p95), float(p99), float(1e3 / milliseconds.mean()))


def take_turns(
    candidates: Mapping[Subject, Run],
    views: Sequence[View],
    turns: int,
    watched: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> dict[Subject, Times]:
    """Let every candidate answer the same image, then the next one.

    Args:
        candidates: what is timed; each is run a few times before.
        views: the images, repeated where they are fewer than the turns.
        turns: how many images each gets.
        watched: shows how far the turns have come.

    Returns:
        What each took.
    """
    order = list(candidates)
    for run in candidates.values():
        for turn in range(WARM_UP):
            view = views[turn % len(views)]
            run.prepare(view)
            run.answer(view)
    times = {subject: Times() for subject in order}
    for turn in watched(range(turns)):
        view = views[turn % len(views)]
        # The first one finds other things in the caches than the last one.
        first = turn % len(order)
        for subject in order[first:] + order[:first]:
            candidates[subject].prepare(view)
            begun = time.perf_counter()
            stages = candidates[subject].answer(view)
            times[subject].add(time.perf_counter() - begun, stages)
    return times
