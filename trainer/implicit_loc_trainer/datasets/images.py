"""Images, depth and masks from files, checked against the camera."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.sample import DataError

# The value that depth cameras of the first Kinect's kind write for "nothing measured".
_NO_DEPTH = 65535

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


class Extras(NamedTuple):
    """What a frame may have beside its image; the fields of Sample."""

    load_depth: Callable[[], NDArray[np.float32]] | None
    load_mask: Callable[[], NDArray[np.bool_]] | None


def load_image(file: Path, camera: Camera) -> NDArray[np.uint8]:
    """The image of a file, (height, width, 3) RGB.

    Raises:
        DataError: not there, damaged, or of another size than the camera's.
    """
    # The intrinsics belong to the pixels as they are stored: EXIF must not rotate them.
    image = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(f'cannot decode the image {file}: it is damaged or no longer there')
    check_size(str(file), (image.shape[1], image.shape[0]), camera)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def load_depth(file: Path, units_per_metre: float = 1000.0) -> NDArray[np.float32]:
    """The depth of a 16-bit file, (H, W) metres, 0 = unknown.

    Raises:
        DataError: not there, damaged, or not of 16 bits.
    """
    depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
        raise DataError(f'cannot decode the 16-bit depth image {file}')
    metres = depth.astype(np.float32) / np.float32(units_per_metre)
    metres[depth == _NO_DEPTH] = 0.0
    return metres


def load_mask(file: Path, camera: Camera) -> NDArray[np.bool_]:
    """The mask of a file, (height, width), True = ignore the pixel.

    Raises:
        DataError: not there, damaged, or of another size than the camera's.
    """
    mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if mask is None:
        raise DataError(f'cannot decode the mask {file}: it is damaged or no longer there')
    check_size(str(file), (mask.shape[1], mask.shape[0]), camera)
    # Alpha says nothing about what to ignore; an opaque picture would be masked whole.
    colours = mask[..., :3] if mask.ndim == 3 else mask[..., None]
    return np.asarray((colours != 0).any(axis=-1))


def check_size(source: str, size: tuple[int, int], camera: Camera) -> None:
    """Refuses an image whose width and height are not the camera's.

    Raises:
        DataError: they differ.
    """
    if size != (camera.width, camera.height):
        raise DataError(
            f'{source} has {size[0]}x{size[1]} pixels, the camera {camera.width}x{camera.height}'
        )


def check_image_file(place: str, file: Path, camera: Camera) -> None:
    """Looks at the header of an image, so that a wrong size is known before training.

    A file that is there but damaged is no error here: a training may go on without it.

    Raises:
        DataError: the file is not there, or has another size than the camera.
    """
    if not file.is_file():
        raise DataError(f'{place}: the frame has no image {file}')
    try:
        with Image.open(file) as image:
            size = image.size
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        return
    check_size(str(file), size, camera)


def find_extras(root: Path, name: str, camera: Camera) -> Extras:
    """Depth and mask of a frame from the folders depth and masks beside a recording.

    Args:
        root: the folder that may hold depth/ (16-bit millimetres, registered to the image) and
            masks/ (non-zero = ignore).
        name: of the frame; the files are called so, with .png for the image's suffix.
        camera: of the image.
    """
    stem = name
    for suffix in _SUFFIXES:
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    depth, mask = root / 'depth' / f'{stem}.png', root / 'masks' / f'{stem}.png'
    return Extras(
        load_depth=partial(load_depth, depth) if depth.is_file() else None,
        load_mask=partial(load_mask, mask, camera) if mask.is_file() else None,
    )
