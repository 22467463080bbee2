"""What single images say: repeated, blurred, too dark or too bright; and their features."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.local_features import LocalFeatures, find_local_features, working_size

FloatArray = NDArray[np.float64]
Grey = NDArray[np.uint8]
Item = TypeVar('Item')
Result = TypeVar('Result')

# Features of larger images gain little and cost much.
LONGEST_SIDE = 800
_MOST_FEATURES = 900
THUMBNAIL = (32, 24)

# Pixels at the ends of the scale carry no picture.
_BLACK, _WHITE = 10, 245

# The reference of a blur measure: what remains after shrinking does not depend on small blur.
_COARSE = 4


@dataclass(frozen=True)
class ImageFacts:
    """What is kept of every image that was looked at.

    Attributes:
        digest: of the pixels: equal for equal images.
        sharpness: variance of the Laplacian over that of the image shrunk four times, which
            makes it independent of contrast and content to a first order.
        brightness: mean grey value in [0, 1].
        dark: share of pixels that are black.
        bright: share of pixels that are white.
        thumbnail: (32 * 24,) float32, zero mean, unit length: products are correlations.
    """

    digest: bytes
    sharpness: float
    brightness: float
    dark: float
    bright: float
    thumbnail: NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """One image as it was seen; `error` says why not, and the rest is None then."""

    facts: ImageFacts | None = None
    features: LocalFeatures | None = None
    error: str = ''


def look_at(sample: Sample, with_features: bool) -> Look:
    """Loads an image once and takes from it what the checks need.

    Args:
        sample: the frame.
        with_features: also finds keypoints.

    Returns:
        The facts; an image that cannot be read gives its error instead.
    """
    try:
        image = sample.load_image()
        mask = sample.load_mask() if with_features and sample.load_mask else None
    except (ImplicitLocError, OSError) as error:
        return Look(error=str(error))
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    facts = _facts(image, grey)
    if not with_features:
        return Look(facts)
    return Look(facts, find_local_features(grey, mask, _MOST_FEATURES, LONGEST_SIDE))


def repeated(facts: Iterable[tuple[int, ImageFacts]]) -> list[int]:
    """Frames whose pixels equal those of their predecessor.

    Args:
        facts: frame and facts in the order of the recording; gaps are no predecessors.
    """
    found, last_index, last_digest = [], -2, b''
    for index, fact in facts:
        if index == last_index + 1 and fact.digest == last_digest:
            found.append(index)
        last_index, last_digest = index, fact.digest
    return found


def _facts(image: NDArray[np.uint8], grey: Grey) -> ImageFacts:
    thumbnail = cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
    flat = thumbnail.ravel() - thumbnail.mean()
    return ImageFacts(
        digest=hashlib.blake2b(image.tobytes(), digest_size=16).digest(),
        sharpness=_sharpness(grey),
        brightness=float(grey.mean()) / 255.0,
        dark=float((grey <= _BLACK).mean()),
        bright=float((grey >= _WHITE).mean()),
        thumbnail=flat / max(float(np.linalg.norm(flat)), 1e-6),
    )


def _sharpness(grey: Grey) -> float:
    size = working_size(grey.shape[1], grey.shape[0], LONGEST_SIDE)
    fine = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    shrunk = (max(4, size[0] // _COARSE), max(4, size[1] // _COARSE))
    coarse = cv2.resize(fine, shrunk, interpolation=cv2.INTER_AREA)
    # One grey level of noise: an empty image is neither sharp nor blurred.
    return (_roughness(fine) + 1.0) / (_roughness(coarse) + 1.0)


def _roughness(grey: Grey) -> float:
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
