"""Whether what a node has answered is right: which image each pose is of, when and where."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Good input must be answered again within this time, and no answer may be older, seconds.
LONGEST_S = 2.0
# Far beyond the errors of a map that knows the place, metres.
NEAR_M = 0.5
# Memory is judged where it had time to settle, in samples of MemoryWatch; it may grow by 5 %.
_FEWEST_SAMPLES = 200
_MOST_GROWN = 1.05
_FIFTHS = 5


@dataclass(frozen=True)
class Sent:
    """An image that was published.

    Attributes:
        number: in the order of publishing.
        time: of publishing, time.monotonic().
        position: of the body in the world, (3,), metres.
        forbidden: why no pose may answer it; empty where one may.
    """

    number: int
    time: float
    position: FloatArray
    forbidden: str = ''


@dataclass(frozen=True)
class Answer:
    """A pose that arrived.

    Attributes:
        stamp: nanoseconds.
        time: of its arrival, time.monotonic().
        position: of the body in the map, (3,), metres.
    """

    stamp: int
    time: float
    position: FloatArray


def wrong_answers(sent: Mapping[int, Sent], answers: Sequence[Answer]) -> Iterator[str]:
    """What is wrong with the stamps of poses, one sentence each.

    Args:
        sent: images by stamp.
        answers: in the order of their arrival.
    """
    last = -1
    for answer in answers:
        image = sent.get(answer.stamp)
        if image is None:
            yield f'a pose has the stamp {answer.stamp}, which no image had'
            continue
        name = f'the pose of image {image.number}'
        if image.forbidden:
            yield f'{name} was published, though there was none to publish: {image.forbidden}'
        if image.number <= last:
            yield f'{name} came after that of image {last}'
        last = max(last, image.number)


def old_answers(
    sent: Mapping[int, Sent],
    answers: Sequence[Answer],
    stops: Sequence[tuple[float, float]],
    latest_s: float,
) -> Iterator[str]:
    """Poses that came too long after their images, one sentence each.

    Args:
        sent: images by stamp.
        answers: poses.
        stops: when the node's process was stopped, from and to, time.monotonic().
        latest_s: seconds that are not too long.
    """
    for answer in answers:
        image = sent.get(answer.stamp)
        if image is None:
            continue
        stopped = sum(max(0.0, min(answer.time, to) - max(image.time, at)) for at, to in stops)
        age = answer.time - image.time - stopped
        if age > latest_s:
            yield f'the pose of image {image.number} came {age:.1f} s after it'


def wrong_places(
    sent: Mapping[int, Sent], answers: Sequence[Answer], what: str = 'pose'
) -> Iterator[str]:
    """Poses, or what else has a place, far from where the body was, one sentence each."""
    for answer in answers:
        image = sent.get(answer.stamp)
        if image is None:
            continue
        off = float(np.linalg.norm(answer.position - image.position))
        # A position that is not a number is not near.
        if not off < NEAR_M:
            yield f'the {what} of image {image.number} is {off:.2f} m off'


def maps_of(
    sent: Mapping[int, Sent], answers: Sequence[Answer], offsets: Sequence[FloatArray]
) -> list[int | None]:
    """Which map each pose is in.

    Args:
        sent: images by stamp.
        answers: in the order of their arrival.
        offsets: of each map's positions from the first one's, (3,), metres, farther apart than
            NEAR_M.

    Returns:
        Indices into `offsets`; None for a pose that is in none of them.
    """
    places = np.asarray(offsets)
    found: list[int | None] = []
    for answer in answers:
        image = sent.get(answer.stamp)
        distances = (
            np.linalg.norm(places + image.position - answer.position, axis=1)
            if image is not None
            else np.full(len(places), math.inf)
        )
        nearest = int(np.argmin(distances))
        found.append(nearest if distances[nearest] < NEAR_M else None)
    return found


def wrong_maps(found: Sequence[int | None], count: int) -> Iterator[str]:
    """What is wrong with the order of maps, one sentence each; of `maps_of`, and how many maps."""
    if lost := sum(one is None for one in found):
        yield f'{lost} poses are in none of the maps'
    known = [one for one in found if one is not None]
    back = sum(later < earlier for earlier, later in pairwise(known))
    if back:
        yield f'{back} poses of an old map came after those of a newer one'
    if missing := set(range(count)) - set(known):
        yield f'no pose came of {len(missing)} of {count} maps'


@dataclass(frozen=True)
class Memory:
    """Resident memory of the node, without what it shares with others.

    Attributes:
        fifths_mb: medians of the five fifths of the time, 10^6 bytes.
        is_flat: whether it has not grown since the second fifth; None of a run that is too short
            to tell.
    """

    fifths_mb: tuple[float, ...]
    is_flat: bool | None


def memory_of(samples: Sequence[float], first_round: int = 0) -> Memory:
    """Sum up samples taken at equal intervals, 10^6 bytes; at least one.

    Args:
        samples: in the order of time.
        first_round: how many of them were taken before everything had happened once: then memory
            grows rightly. They are left out where enough others are left.
    """
    later = samples[first_round:]
    enough = len(later) >= _FEWEST_SAMPLES
    judged = np.asarray(later if enough else samples)
    parts = [part for part in np.array_split(judged, _FIFTHS) if part.size]
    fifths = tuple(float(np.median(part)) for part in parts)
    return Memory(fifths, fifths[-1] <= _MOST_GROWN * fifths[1] if enough else None)


def in_words(memory: Memory) -> str:
    """One line for a reader."""
    verdict = {True: 'flat', False: 'grown', None: 'too short to judge'}[memory.is_flat]
    return f'{", ".join(f"{mb:.0f}" for mb in memory.fifths_mb)} MB ({verdict})'
