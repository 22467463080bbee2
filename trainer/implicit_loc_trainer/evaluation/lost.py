"""Whether a localizer knows when it is lost: its confidence on images of anything else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.metrics import json_figures
from implicit_loc_trainer.evaluation.running import PoseSource
from implicit_loc_trainer.evaluation.trust import auroc
from implicit_loc_trainer.foreign_images import ForeignImage

FloatArray = NDArray[np.float64]

# What an image without a pose counts as: it is never accepted, and trusted less than any other.
REFUSED = -1.0

# Calibration counts its seeds from 0: what a confidence was fitted to, it must not be judged by.
_FIRST_SEED = 10_000


@dataclass(frozen=True)
class LostDetection:
    """Confidences on frames of the place and on other images; `REFUSED` where there is no pose.

    Attributes:
        known: of all frames of the place, (N,).
        foreign: of the images of each kind, (M,).
    """

    known: FloatArray
    foreign: Mapping[str, FloatArray]

    def as_json(self, min_confidence: float) -> dict[str, Any]:
        """What tells them apart.

        Args:
            min_confidence: that of an accepted image at least.

        Returns:
            `frames`, `auroc` and `accepted` (share of the foreign images) over all kinds, and
            under `kinds` the same for each.
        """
        every = np.concatenate(list(self.foreign.values()))
        kinds = {name: self._row(values, min_confidence) for name, values in self.foreign.items()}
        return {**self._row(every, min_confidence), 'kinds': kinds}

    def _row(self, foreign: FloatArray, min_confidence: float) -> dict[str, Any]:
        figures = {
            'auroc': auroc(self.known, foreign),
            'accepted': float(np.mean(foreign >= min_confidence)),
        }
        return {'frames': len(foreign), **json_figures(figures)}


def detect_lost(
    localizer: PoseSource,
    frames: Sequence[FrameResult],
    images: Iterable[tuple[str, Sample, NDArray[np.uint8]]],
) -> LostDetection:
    """Localizes foreign images and keeps their confidences.

    Args:
        localizer: known errors and missing or non-finite poses refuse an image.
        frames: its results on frames of the place.
        images: of `foreign_images`.

    Raises:
        DataError: an image cannot be read.
    """
    foreign: dict[str, list[float]] = {}
    for kind, sample, image in images:
        foreign.setdefault(kind, []).append(_confidence(localizer, sample, image))
    known = [REFUSED if frame.confidence is None else frame.confidence for frame in frames]
    return LostDetection(
        np.array(known), {kind: np.array(values) for kind, values in foreign.items()}
    )


def foreign_images(
    samples: Sequence[Sample], kinds: Mapping[str, ForeignImage], count: int
) -> Iterator[tuple[str, Sample, NDArray[np.uint8]]]:
    """So many images of every kind: kind, frame that it was made from, image.

    None of those that are drawn at random is one that calibration sees.

    Args:
        samples: frames of the place, from which evenly spaced ones are taken.
        kinds: of `foreign_images.foreign_kinds`.
        count: images of each kind; no more than there are frames.
    """
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round())
    for kind, make in kinds.items():
        for seed, index in enumerate(chosen.astype(int), start=_FIRST_SEED):
            yield kind, samples[index], make(samples[index], seed)


def _confidence(localizer: PoseSource, sample: Sample, image: NDArray[np.uint8]) -> float:
    try:
        estimate = localizer.localize(image, sample.camera)
    except ImplicitLocError:
        return REFUSED
    if estimate is None or not np.isfinite(estimate.world_from_camera).all():
        return REFUSED
    return estimate.confidence
