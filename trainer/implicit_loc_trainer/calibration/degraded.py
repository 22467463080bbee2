"""What a robot's camera sees when all is well, and when it is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer import foreign_images as images
from implicit_loc_trainer.datasets import Sample

ByteImage = NDArray[np.uint8]

# A held-out frame as it is.
CLEAN = 'clean'

# The camera turned about its optical axis by half a turn.
_HALF_TURN = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Look:
    """An image to localize.

    Attributes:
        kind: CLEAN, or how the image was made.
        image: (H, W, 3) uint8 RGB.
        world_from_camera: the true pose, (4, 4); None where the image is not of this place.
    """

    kind: str
    image: ByteImage
    world_from_camera: NDArray[np.float64] | None


# Spoilt by so much, an image may or may not be localized: that is for the confidence to learn.
_SPOILT: dict[str, Callable[[ByteImage, int], ByteImage]] = {
    'slightly blurred': lambda image, _: images.blurred(image, 0.005),
    'blurred': lambda image, _: images.blurred(image, 0.015),
    'dark': lambda image, _: images.brightened(image, 0.3),
    'half occluded': lambda image, seed: images.occluded(image, 0.5, seed),
    'bright': lambda image, _: images.brightened(image, 2.5),
    'strongly blurred': lambda image, _: images.blurred(image, 0.04),
    'noisy': lambda image, seed: images.noisy(image, 12.0, seed),
    'night': lambda image, seed: images.noisy(images.brightened(image, 0.08), 6.0, seed),
    'mostly occluded': lambda image, seed: images.occluded(image, 0.8, seed),
    'very noisy': lambda image, seed: images.noisy(image, 35.0, seed),
    'wrong lens': lambda image, _: images.zoomed(image, 1.6),
    'detail': lambda image, _: images.zoomed(image, 3.0),
}
_UPSIDE_DOWN = 'upside down'


def looks(sample: Sample, index: int, data: str | Path, kinds: int) -> Iterator[Look]:
    """A held-out frame as it is, spoilt, and images that are not of its place.

    Of the many ways to spoil it and of the foreign images, each frame gets a few in turn. The
    same arguments give the same bytes.

    Args:
        sample: the frame.
        index: its number among the held-out frames.
        data: its recording; the demo room is another place than all but itself.
        kinds: how many ways to spoil it, and as many foreign images.
    """
    clean, pose = sample.load_image(), sample.world_from_camera
    yield Look(CLEAN, clean, pose)
    for name in _in_turn(list(_SPOILT), index, kinds):
        yield Look(name, _SPOILT[name](clean, index), pose)
    foreign = images.foreign_kinds(data)
    for name in _in_turn(list(foreign), index, kinds):
        image = foreign[name](sample, index)
        yield Look(name, image, pose @ _HALF_TURN if name == _UPSIDE_DOWN else None)


def _in_turn(names: list[str], index: int, count: int) -> list[str]:
    start = index * count
    return [names[(start + offset) % len(names)] for offset in range(min(count, len(names)))]
