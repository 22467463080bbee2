"""What every dataset reader gives: one posed image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError


class DataError(ImplicitLocError):
    """A recording cannot be used as it is: the message names the file and the line."""


@dataclass(frozen=True)
class Sample:
    """One image with its camera and pose.

    Attributes:
        name: unique within its dataset.
        camera: intrinsics and distortion at the size of the image.
        world_from_camera: (4, 4), metres, optical frame (x right, y down, z forward).
        timestamp: seconds from the start of the recording.
        load_image: gives the image, (height, width, 3) uint8 RGB.
        load_depth: gives the depth along the optical axis, (H, W) float32 metres, 0 = unknown,
            registered to the image and of its size or smaller; None where there is no depth.
        load_mask: gives the pixels to ignore, (height, width) bool, True = ignore; None where
            every pixel counts.
    """

    name: str
    camera: Camera
    world_from_camera: NDArray[np.float64]
    timestamp: float
    load_image: Callable[[], NDArray[np.uint8]]
    load_depth: Callable[[], NDArray[np.float32]] | None = None
    load_mask: Callable[[], NDArray[np.bool_]] | None = None
