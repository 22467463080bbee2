"""Images, depth and masks from files, checked against the camera."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.sample import DataError

# The value that depth cameras of the first Kinect's kind write for "nothing measured".
_NO_DEPTH = 65535

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')


_JPEG = b'\xff\xd8'
_PNG = b'\x89PNG\r\n\x1a\n'

# An empty chunk with its checksum; a JPEG ends with a marker.
_PNG_END = b'\x00\x00\x00\x00IEND\xae\x42\x60\x82'
_JPEG_END = b'\xff\xd9'

# How a compressed image begins.
SIGNATURES = (_JPEG, _PNG)


class Extras(NamedTuple):
    """What a frame may have beside its image; the fields of Sample."""

    load_depth: Callable[[], NDArray[np.float32]] | None
    load_mask: Callable[[], NDArray[np.bool_]] | None


def decode(place: str, data: bytes, flags: int) -> NDArray[Any]:
    """The pixels of an encoded image as OpenCV gives them: (H, W), or (H, W, channels) BGR.

    Args:
        place: what the image is and where it stands, for messages.
        data: of the whole file.
        flags: cv2.IMREAD_...

    Raises:
        DataError: a truncated JPEG or PNG, or no image.
    """
    # Decoders fill the rest of a truncated image with grey, without an error. A JPEG may hold a
    # thumbnail with an end marker of its own, so only the last bytes count; some cameras and
    # drivers pad their buffers with zeros.
    is_truncated = (data.startswith(_JPEG) and not data.rstrip(b'\0').endswith(_JPEG_END)) or (
        data.startswith(_PNG) and _PNG_END not in data
    )
    if is_truncated:
        raise DataError(f'{place} is truncated after {len(data)} bytes: its end marker is missing')
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DataError(f'{place} cannot be decoded: its {len(data)} bytes are damaged')
    return np.asarray(pixels)


def decode_colour(place: str, data: bytes) -> NDArray[np.uint8]:
    """The pixels of an encoded image, (height, width, 3) RGB.

    Raises:
        DataError: as of decode.
    """
    # The intrinsics belong to the pixels as they are stored: EXIF must not rotate them.
    image = decode(place, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def load_image(place: str, file: Path, camera: Camera) -> NDArray[np.uint8]:
    """The image of a file, (height, width, 3) RGB.

    Args:
        place: `file:line` that lists the image, for messages.
        file: the image.
        camera: of the image.

    Raises:
        DataError: not there, truncated, damaged, or of another size than the camera's.
    """
    source = f'{place}: the image {file}'
    image = decode_colour(source, _read(source, file))
    check_size(source, (image.shape[1], image.shape[0]), camera)
    return image


def load_depth(file: Path, units_per_metre: float = 1000.0) -> NDArray[np.float32]:
    """The depth of a 16-bit file, (H, W) metres, 0 = unknown.

    Raises:
        DataError: not there, truncated, damaged, or not of 16 bits.
    """
    source = f'the depth image {file}'
    depth = decode(source, _read(source, file), cv2.IMREAD_UNCHANGED)
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise DataError(f'{source} is not of 16 bits and one channel')
    metres = depth.astype(np.float32) / np.float32(units_per_metre)
    metres[depth == _NO_DEPTH] = 0.0
    return metres


def load_mask(file: Path, camera: Camera) -> NDArray[np.bool_]:
    """The mask of a file, (height, width), True = ignore the pixel.

    Raises:
        DataError: not there, truncated, damaged, or of another size than the camera's.
    """
    source = f'the mask {file}'
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    mask = decode(source, _read(source, file), flags)
    check_size(source, (mask.shape[1], mask.shape[0]), camera)
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
    check_size(f'{place}: the image {file}', size, camera)


def find_extras(root: Path, name: str, camera: Camera) -> Extras:
    """Depth and mask of a frame from the folders depth and masks beside a recording.

    Args:
        root: the folder that may hold depth/ (16-bit millimetres, registered to the image) and
            masks/ (non-zero = ignore).
        name: of the frame; the files are called so, with .png for the image's suffix.
        camera: of the image.
    """
    depth = _file_of(root / 'depth', name)
    return Extras(
        load_depth=partial(load_depth, depth) if depth.is_file() else None,
        load_mask=find_mask(root / 'masks', name, camera),
    )


def find_mask(folder: Path, name: str, camera: Camera) -> Callable[[], NDArray[np.bool_]] | None:
    """What loads the mask of a frame from a folder; None where it has none.

    Args:
        folder: of the masks, non-zero = ignore.
        name: of the frame; its mask is called so, with .png for the image's suffix.
        camera: of the image.
    """
    file = _file_of(folder, name)
    return partial(load_mask, file, camera) if file.is_file() else None


def _file_of(folder: Path, name: str) -> Path:
    stem = name
    for suffix in _SUFFIXES:
        stem = stem[: -len(suffix)] if stem.lower().endswith(suffix) else stem
    return folder / f'{stem}.png'


def _read(source: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f'{source} cannot be read: {error.strerror}') from error
