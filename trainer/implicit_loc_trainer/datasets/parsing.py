"""Text files, numbers and rigid transforms, checked; every error names the file and the line."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.errors import CameraError
from implicit_loc_trainer.datasets.sample import DataError

FloatArray = NDArray[np.float64]

# Files round to four digits and more; anything further from length 1 is another column.
_QUATERNION_TOLERANCE = 1e-3

# Depth-camera trackers multiply many float32 rotations; a scale or a mirror is far beyond this.
_ROTATION_TOLERANCE = 5e-3


def numbered_lines(file: Path) -> list[tuple[int, str]]:
    """Number and text of the lines that are neither empty nor comments.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    try:
        text = file.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot read {file}: {error}') from error
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in numbered if line and not line.startswith('#')]


def placed_lines(file: Path, skip: int = 0) -> Iterator[tuple[str, list[str]]]:
    """`file:line` and the words of each line that says something.

    Args:
        file: to read.
        skip: lines at the top of the file that are a header.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    for number, line in numbered_lines(file):
        if number > skip:
            yield f'{file}:{number}', line.split()


def numbers(place: str, words: Sequence[str]) -> list[float]:
    """The finite numbers that the words say.

    Raises:
        DataError: a word is no number, or not a finite one.
    """
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError as error:
            raise DataError(f'{place}: {word!r} is not a number') from error
        if not math.isfinite(value):
            raise DataError(f'{place}: {word!r} is not finite')
        values.append(value)
    return values


def rigid_from_quaternion(
    place: str, translation: Sequence[float], quaternion: Sequence[float]
) -> FloatArray:
    """The (4, 4) transform of a translation and a quaternion x y z w.

    Raises:
        DataError: something is not finite, or the quaternion is not of length 1.
    """
    if not np.isfinite([*translation, *quaternion]).all():
        raise DataError(f'{place}: the pose is not finite')
    length = math.hypot(*quaternion)
    if abs(length - 1.0) > _QUATERNION_TOLERANCE:
        raise DataError(
            f'{place}: the quaternion has length {length:.4f}, not 1: it is not a rotation'
        )
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    transform[:3, 3] = translation
    return transform


def rigid_from_matrix(place: str, matrix: FloatArray) -> FloatArray:
    """The (4, 4) transform that a file gives as a matrix, its rotation made exact.

    Raises:
        DataError: not finite, the last row is not 0 0 0 1, or the rotation is none.
    """
    if not np.isfinite(matrix).all():
        raise DataError(f'{place}: the pose is not finite')
    if not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise DataError(f'{place}: the last row of the pose is {matrix[3]}, not 0 0 0 1')
    rotation = matrix[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > _ROTATION_TOLERANCE:
        raise DataError(
            f'{place}: the upper left 3x3 block is not a rotation: R R^T differs from the '
            f'identity by {error:.3g}'
        )
    if np.linalg.det(rotation) < 0:
        raise DataError(f'{place}: the upper left 3x3 block is a mirror, not a rotation')
    transform = np.eye(4)
    left, _, right = np.linalg.svd(rotation)
    transform[:3, :3] = left @ right
    transform[:3, 3] = matrix[:3, 3]
    return transform


def inverse(transform: FloatArray) -> FloatArray:
    """The inverse of rigid transforms (..., 4, 4)."""
    result = np.zeros_like(transform)
    rotation = np.swapaxes(transform[..., :3, :3], -1, -2)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -(rotation @ transform[..., :3, 3, None])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def make_camera(
    place: str,
    size: tuple[int, int],
    intrinsics: tuple[float, float, float, float],
    distortion_model: str = 'none',
    distortion: Sequence[float] = (),
) -> Camera:
    """A camera; size is width and height, intrinsics are fx, fy, cx, cy.

    Raises:
        DataError: the core refuses these values; says where they stand.
    """
    # A fisheye projects differently from a pinhole even with all coefficients zero.
    if distortion_model != 'equidistant' and not any(distortion):
        distortion_model, distortion = 'none', ()
    try:
        return Camera(*size, *intrinsics, distortion_model, tuple(distortion))
    except CameraError as error:
        raise DataError(f'{place}: {error}') from error


def read_yaml(file: Path) -> dict[str, object]:
    """The mapping that a YAML file holds.

    Raises:
        DataError: the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot read {file}: {error}') from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f'{file}:{mark.line + 1}' if mark else str(file)
        raise DataError(f'{place}: {error.problem}') from error
    except yaml.YAMLError as error:
        raise DataError(f'{file} is not YAML: {error}') from error
    if not isinstance(content, dict):
        raise DataError(f'{file} must hold "key: value" lines')
    return content


def read_tum(file: Path) -> tuple[FloatArray, FloatArray]:
    """Reads `timestamp tx ty tz qx qy qz qw` lines, camera-to-world.

    Returns:
        Timestamps (N,) in seconds, and world_from_camera (N, 4, 4) in metres.

    Raises:
        DataError: the file cannot be read, or a malformed line.
    """
    timestamps, transforms = [], []
    for place, words in placed_lines(file):
        if len(words) != 8:
            raise DataError(
                f'{place}: a pose is "timestamp tx ty tz qx qy qz qw", found {len(words)} values'
            )
        timestamp, *values = numbers(place, words)
        timestamps.append(timestamp)
        transforms.append(rigid_from_quaternion(place, values[:3], values[3:]))
    return np.array(timestamps), np.array(transforms).reshape(-1, 4, 4)


class ListedPose(NamedTuple):
    """A line of a list of poses.

    Attributes:
        place: `file:line`.
        world_from_camera: (4, 4) in metres.
        further: the words after the pose.
    """

    place: str
    world_from_camera: FloatArray
    further: list[str]


def read_world_to_camera(file: Path) -> dict[str, ListedPose]:
    """Reads `file qw qx qy qz tx ty tz ...` lines, world-to-camera, as estimates are published.

    Returns:
        By image file, in the order of the lines.

    Raises:
        DataError: the file cannot be read, a malformed line, or an image that is named twice.
    """
    listed: dict[str, ListedPose] = {}
    for place, words in placed_lines(file):
        if len(words) < 8:
            raise DataError(
                f'{place}: a pose is "file qw qx qy qz tx ty tz", found {len(words)} values'
            )
        name = words[0]
        if name in listed:
            raise DataError(f'{place}: {name} already has a pose')
        w, x, y, z, *translation = numbers(place, words[1:8])
        camera_from_world = rigid_from_quaternion(place, translation, (x, y, z, w))
        listed[name] = ListedPose(place, inverse(camera_from_world), words[8:])
    return listed
