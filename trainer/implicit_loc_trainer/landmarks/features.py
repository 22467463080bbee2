"""Features of a frame as lines of sight."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.local_features import find_local_features, working_size

FloatArray = NDArray[np.float64]

# Finer features than the longest side of this many pixels shows cost time and are rarely matched.
_LONGEST_SIDE = 640
_MOST_FEATURES = 1200

# Ray and descriptor of every feature.
MOST_BYTES = _MOST_FEATURES * (3 * 8 + 128 * 2)


@dataclass(frozen=True)
class Features:
    """Features of one frame.

    Attributes:
        rays: unit-depth ray of each, (N, 3).
        descriptors: of unit length, (N, 128) float16: those of all frames are in memory at once.
    """

    rays: FloatArray
    descriptors: NDArray[np.float16]

    @classmethod
    def none(cls) -> 'Features':
        """Of a frame that shows nothing."""
        return cls(np.empty((0, 3)), np.empty((0, 128), dtype=np.float16))


def working_focal_length(camera: Camera) -> float:
    """At the size at which features are found, pixels: there their noise is the same for all."""
    width, _ = working_size(camera.width, camera.height, _LONGEST_SIDE)
    return camera.focal_length * width / camera.width


def find_features(sample: Sample) -> Features:
    """The features outside of the frame's mask that have a line of sight.

    Raises:
        DataError: the image or the mask cannot be read.
    """
    grey = np.asarray(cv2.cvtColor(sample.load_image(), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    ignored = None if sample.load_mask is None else sample.load_mask()
    found = find_local_features(grey, ignored, _MOST_FEATURES, _LONGEST_SIDE)
    rays = sample.camera.unproject(found.pixels)
    usable = np.isfinite(rays).all(axis=1)
    return Features(rays[usable], found.descriptors[usable].astype(np.float16))
