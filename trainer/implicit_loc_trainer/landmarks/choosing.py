"""Which landmarks a map gets, of the many that a recording has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets import Sample

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

# Points that fewer frames have seen are placed less well, and recognised less often.
_FEWEST_FRAMES = 4


@dataclass(frozen=True)
class ChosenLandmarks:
    """Landmarks for a map.

    Attributes:
        points: (L, 3), in the world, the most seen ones first.
        in_frame: which of them each frame shows.
    """

    points: FloatArray
    in_frame: list[Indices]

    @classmethod
    def of(cls, frames: Sequence[Sample], most: int) -> 'ChosenLandmarks':
        """The landmarks that most frames see, with as many for every place as for any other.

        The most seen ones alone would lie where the camera has stayed longest. So each frame in
        turn gives its best one, then its second best, until there are enough.

        Args:
            frames: with their landmarks; one landmark has the same numbers in all of its frames.
            most: landmarks to choose.
        """
        none = np.empty((0, 3))
        per_frame = [none if frame.landmarks is None else frame.landmarks for frame in frames]
        lengths = np.array([len(points) for points in per_frame], dtype=np.intp)
        points, number, counts = np.unique(
            np.concatenate([none, *per_frame]), axis=0, return_inverse=True, return_counts=True
        )
        number = number.reshape(-1)
        ranks = _best_ranks(np.repeat(np.arange(len(frames)), lengths), number, counts)
        order = np.lexsort((-counts, ranks))
        chosen = order[counts[order] >= _FEWEST_FRAMES][:most]
        kept = chosen[np.argsort(-counts[chosen], kind='stable')]
        place = np.full(len(points), -1)
        place[kept] = np.arange(len(kept))
        in_frame = np.split(place[number], np.cumsum(lengths)[:-1]) if len(frames) else []
        return cls(points[kept], [own[own >= 0] for own in in_frame])


def _best_ranks(frame: Indices, number: Indices, counts: Indices) -> Indices:
    """In the frame where it ranks highest, how many landmarks are seen more often, (L,).

    Args:
        frame: of every observation, increasing, (M,).
        number: of its landmark, (M,).
        counts: observations of every landmark, (L,).
    """
    order = np.lexsort((number, -counts[number], frame))
    first = np.searchsorted(frame, frame)
    ranks = np.full(len(counts), len(frame))
    # Sorting keeps every frame's observations in their range.
    np.minimum.at(ranks, number[order], np.arange(len(frame)) - first)
    return ranks
