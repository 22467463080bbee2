"""A recording as the checks see it: its frames, what was seen in them, and their features."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check import epipolar, matching
from implicit_loc_trainer.check.epipolar import Correspondences
from implicit_loc_trainer.check.images import ImageFacts, Look, look_at
from implicit_loc_trainer.check.matching import Match
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.local_features import LocalFeatures
from implicit_loc_trainer.threads import in_order

FloatArray = NDArray[np.float64]

# The golden ratio spreads what it strides over, without a period that a recording could share.
_GOLDEN = 0.6180339887498949


@dataclass
class Recording:
    """Frames of one or two splits, one after the other, and what was found in their images.

    Attributes:
        samples: of all splits.
        split: (N,) which split each frame belongs to, 0 = the first.
        split_names: of the splits.
        facts: by frame, of the images that were looked at.
        features: by frame.
        errors: by frame, why its image cannot be read.
        depth_errors: by frame, why its depth image cannot be read.
        matches: by the two frames; None where they do not show the same place.
    """

    samples: list[Sample]
    split: NDArray[np.intp]
    split_names: list[str]
    facts: dict[int, ImageFacts] = field(default_factory=dict)
    features: dict[int, LocalFeatures] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    depth_errors: dict[int, str] = field(default_factory=dict)
    matches: dict[tuple[int, int], Match | None] = field(default_factory=dict)

    @classmethod
    def of(cls, splits: dict[str, list[Sample]]) -> 'Recording':
        """The frames of the splits in their order."""
        sizes = [len(samples) for samples in splits.values()]
        return cls(
            [sample for samples in splits.values() for sample in samples],
            np.repeat(np.arange(len(sizes)), sizes),
            list(splits),
        )

    @property
    def world_from_camera(self) -> FloatArray:
        """The labels, (N, 4, 4)."""
        return np.array([sample.world_from_camera for sample in self.samples], dtype=np.float64)

    @property
    def timestamps(self) -> FloatArray:
        """(N,) seconds."""
        return np.array([sample.timestamp for sample in self.samples])

    def names(self, indices: Iterable[int]) -> list[str]:
        """The names of frames."""
        return [self.samples[int(index)].name for index in indices]

    def look(self, indices: Sequence[int], with_features: frozenset[int]) -> None:
        """Loads images that were not looked at yet, each once."""

        def work(index: int) -> Look:
            return look_at(self.samples[index], index in with_features)

        missing = [
            index
            for index in indices
            if index not in self.errors
            and (
                index not in self.facts or (index in with_features and index not in self.features)
            )
        ]
        for index, seen in zip(missing, in_order(work, missing), strict=True):
            if seen.facts is None:
                self.errors[index] = seen.error
                continue
            self.facts[index] = seen.facts
            if seen.features is not None:
                self.features[index] = seen.features

    def match(self, pairs: Iterable[tuple[int, int]]) -> list[Match]:
        """Matches pairs of frames, each once; those that do not show the same place fall out.

        Images without features yet are loaded.
        """
        wanted = [(min(pair), max(pair)) for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]
        new = [pair for pair in dict.fromkeys(wanted) if pair not in self.matches]
        frames = sorted({index for pair in new for index in pair})
        self.look(frames, frozenset(frames))
        new = [pair for pair in new if set(pair) <= self.features.keys()]
        for pair, found in zip(new, in_order(self._match, new), strict=True):
            self.matches[pair] = found
        found_all = (self.matches.get(pair) for pair in dict.fromkeys(wanted))
        return [found for found in found_all if found is not None]

    def _match(self, pair: tuple[int, int]) -> Match | None:
        first, second = pair
        return matching.match(
            pair,
            (self.features[first], self.features[second]),
            (self.samples[first].camera, self.samples[second].camera),
        )

    def correspondences(self, matches: Sequence[Match]) -> Correspondences:
        """The matched points as rays of the cameras as given."""
        first = np.array([found.first for found in matches], dtype=np.intp)
        second = np.array([found.second for found in matches], dtype=np.intp)
        return epipolar.Correspondences(
            first,
            second,
            self._rays(first, [found.first_pixels for found in matches]),
            self._rays(second, [found.second_pixels for found in matches]),
            self._focal(first),
            self._focal(second),
        )

    def _rays(self, frames: NDArray[np.intp], pixels: Sequence[FloatArray]) -> FloatArray:
        rays = np.empty((len(frames), matching.POINTS, 2))
        for row, (frame, found) in enumerate(zip(frames, pixels, strict=True)):
            rays[row] = self.samples[frame].camera.unproject(found)[:, :2]
        return rays

    def _focal(self, frames: NDArray[np.intp]) -> FloatArray:
        cameras = [self.samples[frame].camera for frame in frames]
        return np.array([(camera.fx, camera.fy) for camera in cameras]).reshape(-1, 2)


def spread_frames(count: int, limit: int) -> list[int]:
    """At most `limit` of `count` frames, spread evenly but without a fixed stride.

    With every second frame, a recording whose every second pose is wrong would look perfect.
    """
    if count <= limit:
        return list(range(count))
    steps = np.arange(limit)
    offsets = (steps * _GOLDEN) % 1.0
    return np.unique(((steps + offsets) * count / limit).astype(int)).tolist()
