"""Local features of single images: corners that other images of the place show again."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Grey = NDArray[np.uint8]

# Lower than OpenCV's 0.04: matches are confirmed by geometry, whatever they hang on.
_LEAST_CONTRAST = 0.02


@dataclass(frozen=True)
class LocalFeatures:
    """Keypoints of one image.

    Attributes:
        pixels: (K, 2) at the full size of the image.
        descriptors: (K, 128) float32 of unit length (RootSIFT).
    """

    pixels: FloatArray
    descriptors: NDArray[np.float32]


def working_size(width: int, height: int, longest_side: int) -> tuple[int, int]:
    """Width and height with at most that longest side; never enlarged."""
    scale = min(1.0, longest_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def find_local_features(
    grey: Grey, ignored: NDArray[np.bool_] | None, most: int, longest_side: int
) -> LocalFeatures:
    """SIFT features with root-normalised descriptors.

    Args:
        grey: (H, W).
        ignored: pixels without features, (H, W); None = none.
        most: of the strongest features that are kept.
        longest_side: to which the image is shrunk: larger ones gain little and cost much.
    """
    height, width = grey.shape
    size = working_size(width, height, longest_side)
    resized = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    allowed = None
    if ignored is not None:
        usable = (~ignored).astype(np.uint8)
        allowed = cv2.resize(usable, size, interpolation=cv2.INTER_NEAREST)
    # Without the precise upscaling keypoints are a quarter of a pixel off.
    sift = cv2.SIFT.create(
        nfeatures=most, contrastThreshold=_LEAST_CONTRAST, enable_precise_upscale=True
    )
    keypoints, descriptors = sift.detectAndCompute(resized, allowed)
    if descriptors is None or len(keypoints) == 0:
        return LocalFeatures(np.empty((0, 2)), np.empty((0, 128), np.float32))
    found = np.array([point.pt for point in keypoints], dtype=np.float64)
    pixels = (found + 0.5) * (width / size[0], height / size[1]) - 0.5
    # Arandjelovic and Zisserman 2012: Euclidean distance of roots is Hellinger's of histograms.
    roots = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return LocalFeatures(pixels, roots.astype(np.float32))
