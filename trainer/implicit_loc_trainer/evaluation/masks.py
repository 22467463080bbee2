"""Which pixels of a frame are left out of its localization."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets.images import find_mask
from implicit_loc_trainer.datasets.sample import DataError, Sample

if TYPE_CHECKING:
    from implicit_loc_trainer.segmentation import Segmenter

# Gives the pixels of a frame and its image to ignore, (H, W), True = ignore; None = none.
MaskSource = Callable[[Sample, NDArray[np.uint8]], NDArray[np.bool_] | None]


def no_masks(_sample: Sample, _image: NDArray[np.uint8]) -> None:
    """Every pixel counts, as on a robot that has no masks."""
    return


def masks_of_folder(folder: Path, samples: Sequence[Sample]) -> MaskSource:
    """Masks from files that are called like the frames; a frame without one is used whole.

    Args:
        folder: with one .png per frame, non-zero = ignore.
        samples: that will be asked for.

    Raises:
        DataError: none of them has a mask there.
    """
    found = {sample.name: find_mask(folder, sample.name, sample.camera) for sample in samples}
    if not any(found.values()):
        wanted = f'{folder / samples[0].name}.png' if samples else str(folder)
        raise DataError(f'no frame has a mask in {folder}: {wanted} is not there, for instance')

    def mask(sample: Sample, _: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        load = found[sample.name]
        return None if load is None else load()

    return mask


def masks_of_network(segmenter: 'Segmenter') -> MaskSource:
    """Masks of the classes that a segmentation network ignores."""
    return lambda _, image: segmenter.mask(image)
