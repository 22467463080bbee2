"""Random erasing (Zhong et al. 2020): what is next to a cell is not always there.

A network that has seen every training image whole may recognise the image instead of its pieces.
"""

from dataclasses import replace

import numpy as np

from implicit_loc.camera import cell_pixels
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import View

_MOST_RECTANGLES = 3
# A sliver takes nothing away.
_LEAST_SHARE = 0.1


def erase(view: View, config: AugmentationConfig, stride: int, rng: np.random.Generator) -> View:
    """Now and then fill one to three rectangles with the mean colour or with noise.

    Cells that look at a rectangle are not valid: nothing there says where they are.

    Args:
        view: left as it is.
        config: how often and how large.
        stride: of the network's output.
        rng: of the view.
    """
    if config.erase == 0 or rng.random() >= config.erase:
        return view
    image, valid = view.image.copy(), view.valid.copy()
    rows, columns = valid.shape
    centres = cell_pixels(range(rows), range(columns), stride)
    size = np.array(image.shape[1::-1])
    for _ in range(rng.integers(1, _MOST_RECTANGLES + 1)):
        least = min(_LEAST_SHARE, config.erase_size)
        extent = np.maximum(1, size * rng.uniform(least, config.erase_size, 2)).astype(int)
        corner = rng.integers(0, size - extent + 1)
        (left, top), (right, bottom) = corner, corner + extent
        window = image[top:bottom, left:right]
        filling = rng.integers(0, 256, window.shape, np.uint8)
        window[:] = filling if rng.random() < 0.5 else view.image.mean(axis=(0, 1))
        inside = ((centres >= corner) & (centres < corner + extent)).all(axis=-1)
        valid &= ~inside
    return replace(view, image=image, valid=valid)
