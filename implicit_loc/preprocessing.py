"""Image -> network input: the same resizing and normalising in training and on the robot.

Training resizes to a cache larger than the network's input and then warps its views from it.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.camera import Camera, output_size
from implicit_loc.errors import ImageError

ByteImage = NDArray[np.uint8]

# ImageNet's statistics: near those of any indoor or street scene, so no pass over the data.
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def check_image(image: ByteImage, camera: Camera) -> None:
    """Refuse what is not an RGB image of the camera's size.

    Raises:
        ImageError: with what was found and expected.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, 'dtype', type(image).__name__)
        raise ImageError(f'the image is {kind}: it must be a uint8 array')
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f'the image has shape {image.shape}: it must be (height, width, 3)')
    height, width = image.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise ImageError(
            f'the image has {width}x{height} pixels, '
            f'its camera {camera.width}x{camera.height}: one of them is wrong'
        )


def input_camera(camera: Camera, height: int) -> Camera:
    """The camera of an image resized to a height, its aspect ratio kept to the pixel."""
    return camera.scaled(max(1, round(height * camera.aspect_ratio)), height)


def resize(image: ByteImage, width: int, height: int) -> ByteImage:
    """Resize (H, W, 3) to (height, width, 3); averages where it shrinks, so nothing aliases."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(image, (width, height), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


def to_tensor(image: ByteImage) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) uint8, a view in channels-last memory order."""
    # A message's bytes are read-only, of which PyTorch would warn on the robot's console.
    return torch.from_numpy(np.require(image, requirements=['C', 'W'])).permute(2, 0, 1)


def statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and standard deviation of the channels, (3, 1, 1) each."""
    mean, deviation = (torch.tensor(v, device=device) for v in (MEAN, STANDARD_DEVIATION))
    return mean[:, None, None], deviation[:, None, None]


def normalise(images: Tensor, known: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """(B, 3, H, W) uint8 -> float32 with about zero mean and unit deviation, channels last.

    Args:
        images: their values from 0 to 255, of any type.
        known: `statistics` of their device, where to make them each time is too slow.
    """
    mean, deviation = known or statistics(images.device)
    values = images.to(torch.float32, memory_format=torch.channels_last, copy=True)
    # In place: at 640x480, fresh memory for each step takes longer than its arithmetic.
    return values.div_(255.0).sub_(mean).div_(deviation)


def ignored_cells(
    mask: NDArray[np.generic], camera: Camera, input_camera: Camera, stride: int
) -> NDArray[np.bool_]:
    """Output cells most of whose pixels are to be ignored.

    Args:
        mask: (H, W), non-zero = ignore.
        camera: of the image, whose size the mask must have.
        input_camera: of the network's input.
        stride: pixels of the input per cell.

    Returns:
        (rows, columns) of the output.

    Raises:
        ImageError: the mask has another size.
    """
    if mask.shape != (camera.height, camera.width):
        raise ImageError(
            f'the mask has shape {mask.shape}, its image has '
            f'{camera.height} rows and {camera.width} columns: they must agree'
        )
    width, height = input_camera.width, input_camera.height
    ignored = cv2.resize(
        (mask != 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
    )
    rows, columns = output_size(width, height, stride)
    # The last cells may reach over the edge: what lies beyond is as what lies at it.
    padding = ((0, rows * stride - height), (0, columns * stride - width))
    padded = np.pad(ignored, padding, mode='edge')
    shares = padded.reshape(rows, stride, columns, stride).mean(axis=(1, 3))
    return np.asarray(shares > 0.5)
