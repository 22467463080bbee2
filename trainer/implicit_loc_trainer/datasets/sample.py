"""What every dataset reader gives: one image and where its camera was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError


class DataError(ImplicitLocError):
    """A recording cannot be used as it is: the message names the file and the line."""


@dataclass(frozen=True)
class Sample:
    """One image with its camera and its pose, or its position alone.

    Attributes:
        name: unique within its dataset.
        camera: intrinsics and distortion at the size of the image.
        world_from_camera: (4, 4), metres, optical frame (x right, y down, z forward); where only
            the position is known, its rotation is the identity and means nothing.
        timestamp: seconds from the start of the recording.
        load_image: gives the image, (height, width, 3) uint8 RGB.
        load_depth: gives the depth along the optical axis, (H, W) float32 metres, 0 = unknown,
            registered to the image and of its size or smaller; None where there is no depth.
        load_mask: gives the pixels to ignore, (height, width) bool, True = ignore; None where
            every pixel counts.
        has_orientation: whether world_from_camera holds more than a position.
        landmarks: points of the world that the image shows, (N, 3) metres; None where none are
            known.
    """

    name: str
    camera: Camera
    world_from_camera: NDArray[np.float64]
    timestamp: float
    load_image: Callable[[], NDArray[np.uint8]]
    load_depth: Callable[[], NDArray[np.float32]] | None = None
    load_mask: Callable[[], NDArray[np.bool_]] | None = None
    has_orientation: bool = True
    landmarks: NDArray[np.float64] | None = None

    def position_only(self) -> 'Sample':
        """The same frame, as if its orientation were not known."""
        world_from_camera = np.eye(4)
        world_from_camera[:3, 3] = self.world_from_camera[:3, 3]
        return replace(
            self,
            world_from_camera=world_from_camera,
            has_orientation=False,
            landmarks=None,
        )


def check_orientations(place: object, samples: Sequence[Sample]) -> None:
    """Refuses frames of which only the position is known.

    Args:
        place: what the error names: the recording.
        samples: of it.

    Raises:
        DataError: there are some.
    """
    missing = [sample.name for sample in samples if not sample.has_orientation]
    if missing:
        raise DataError(
            f'{place}: of {len(missing)} of {len(samples)} frames only the position is known '
            f'(for instance {missing[0]}); such frames serve implicit-loc finetune --positions'
        )
