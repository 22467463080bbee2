"""Images that must not be localized, and ways to spoil those that should be.

A robot that is lost sees another place, nothing, or its own place beyond recognition. All of it is
made from a seed and, at most, a frame of the place: the same arguments give the same bytes.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import demo_room
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.demo_room import pictures, textures
from implicit_loc_trainer.demo_room.flights import test_flight
from implicit_loc_trainer.demo_room.renderer import demo_room as rendered_room

ByteImage = NDArray[np.uint8]

# An image of no use, made from a frame of the place and a seed.
ForeignImage = Callable[[Sample, int], ByteImage]

# Of the image's height: at a tenth, nothing is left but where it is bright and where dark.
HEAVY_BLUR = 0.1
# Frames of the demo room's flight that follow each other by less show nearly the same.
_FLIGHT_STEP = 37
# Rows of the least wall that has room for what hangs on it.
_SMALLEST_WALL = 240


def foreign_kinds(data: str | Path) -> dict[str, ForeignImage]:
    """The kinds of images that are not of a place, by their name.

    Args:
        data: of the place: the demo room is another place than all but itself.
    """
    is_demo_room = demo_room.matches(Path(data))
    return {
        'another place': _unknown_wall if is_demo_room else _demo_room_frame,
        'noise': lambda sample, seed: noise(sample.camera, seed),
        'blank': lambda sample, seed: blank(sample.load_image(), seed),
        'heavily blurred': lambda sample, _: blurred(sample.load_image(), HEAVY_BLUR),
        'upside down': lambda sample, _: upside_down(sample.load_image()),
    }


def noise(camera: Camera, seed: int) -> ByteImage:
    """Random colours without any meaning; coarse or fine, as the seed will.

    Args:
        camera: of the size wanted.
        seed: non-negative.
    """
    rng = np.random.default_rng(seed)
    # Resizing averages noise as fine as the pixels away: an image of it alone would be grey.
    grain = 2.0 ** rng.uniform(0.0, 6.0)
    size = (max(2, round(camera.height / grain)), max(2, round(camera.width / grain)), 3)
    coarse = rng.integers(0, 256, size, dtype=np.uint8)
    return _resized(coarse, camera, cv2.INTER_CUBIC)


def blank(image: ByteImage, seed: int) -> ByteImage:
    """One colour: in turn that of the whole image, black (a covered lens), and white (glare)."""
    colours = (image.mean(axis=(0, 1)), 0, 255)
    return np.full_like(image, np.asarray(colours[seed % len(colours)], dtype=np.uint8))


def blurred(image: ByteImage, share: float) -> ByteImage:
    """Gaussian blur.

    Args:
        image: (H, W, 3).
        share: its standard deviation in heights of the image, above 0.
    """
    height, width = image.shape[:2]
    deviation = share * height
    # A kernel of thousands of taps would take seconds: first to where a few of them are enough.
    factor = max(1.0, deviation / 4.0)
    size = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor > 1 else image
    smooth = cv2.GaussianBlur(small, (0, 0), deviation / factor)
    resized = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def upside_down(image: ByteImage) -> ByteImage:
    """Turned by 180 degrees: the camera hangs the wrong way, farther than training ever rolls."""
    return np.ascontiguousarray(image[::-1, ::-1])


def brightened(image: ByteImage, factor: float) -> ByteImage:
    """Exposed longer (factor above 1, highlights clip) or shorter (below 1)."""
    return np.clip(factor * image.astype(np.float32) + 0.5, 0, 255).astype(np.uint8)


def noisy(image: ByteImage, deviation: float, seed: int) -> ByteImage:
    """With Gaussian noise of a standard deviation in grey levels, on every pixel and channel."""
    grain = np.random.default_rng(seed).standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + deviation * grain + 0.5, 0, 255).astype(np.uint8)


def occluded(image: ByteImage, share: float, seed: int) -> ByteImage:
    """Somebody stands in the way: a rectangle of one colour hides a share of the image.

    Args:
        image: (H, W, 3).
        share: of the area, in [0, 1].
        seed: of where it lies, its shape and colour.
    """
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    # Between a standing and a lying figure, as far as the image has room for it.
    aspect = np.clip(np.exp(rng.uniform(-0.7, 0.7)), share, 1.0 / max(share, 1e-6))
    tall = min(height, round(height * float(np.sqrt(share * aspect))))
    wide = min(width, round(width * float(np.sqrt(share / aspect))))
    top, left = rng.integers(0, height - tall + 1), rng.integers(0, width - wide + 1)
    hidden = image.copy()
    hidden[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return hidden


def zoomed(image: ByteImage, factor: float) -> ByteImage:
    """The middle of the image, enlarged (factor above 1): the intrinsics no longer fit."""
    height, width = image.shape[:2]
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, 0.0, factor)
    warped = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)


def _demo_room_frame(sample: Sample, seed: int) -> ByteImage:
    """The demo room as the sample's camera would see it."""
    route = test_flight().world_from_camera
    pose = route[seed * _FLIGHT_STEP % len(route)]
    return rendered_room().render(pose, sample.camera, seed)[0]


def _unknown_wall(sample: Sample, seed: int) -> ByteImage:
    """Things of the demo room's kind that it does not have, on a wall seen at a slant."""
    rng = np.random.default_rng(seed)
    camera = sample.camera
    # Things are painted in steps of pixels: a small image is a large one, shrunk.
    scale = max(1, -(-_SMALLEST_WALL // camera.height))
    width, height = scale * camera.width, scale * camera.height
    rows, columns = 2 * height, 2 * width
    painters = (
        pictures.poster('ELSEWHERE'), pictures.books(3), pictures.window, pictures.screen,
        pictures.fronts((120, 140, 110), 2, 3, (200, 200, 190)), pictures.carton('NOT HERE'),
    )  # fmt: skip
    chosen = rng.choice(len(painters), 3, replace=False)
    hangings = [
        (left, rng.uniform(0.05, 0.4), rng.uniform(0.18, 0.28), rng.uniform(0.3, 0.5), painters[i])
        for left, i in zip((0.04, 0.36, 0.68), chosen, strict=True)
    ]
    shade, stripe = (pictures.random_colour(rng, 90, 230) for _ in range(2))
    picture = pictures.wall(textures.wallpaper(shade, stripe), hangings)(rng, rows, columns)
    corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
    seen = corners / 2 + rng.uniform(-0.25, 0.25, (4, 2)) * (width, height)
    slant = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    view = cv2.warpPerspective(picture, slant, (width, height), borderMode=cv2.BORDER_REFLECT)
    return _resized(np.asarray(view, dtype=np.uint8), camera, cv2.INTER_AREA)


def _resized(image: ByteImage, camera: Camera, interpolation: int) -> ByteImage:
    size = (camera.width, camera.height)
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
