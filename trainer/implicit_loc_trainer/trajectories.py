"""Camera trajectories as text, and files that are either written whole or not at all.

Two formats are read: TUM (`timestamp tx ty tz qx qy qz qw`, camera-to-world) and the lists in
which published estimates are distributed (`file qw qx qy qz tx ty tz ...`, world-to-camera).
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc import poses
from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.datasets.sample import DataError

FloatArray = NDArray[np.float64]

# Published files round to four digits and more; a longer or shorter quaternion is another column.
QUATERNION_TOLERANCE = 0.01


class OutputError(ImplicitLocError):
    """A file or folder that is to be written cannot be."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what stands there becomes `path` when the block succeeds.

    A reader never sees half a file, and a failure leaves an older file as it was.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Makes the parent folders of `path` and tries that a file can be put there.

    Raises:
        OutputError: it cannot.
    """
    try:
        resolved = path.resolve()
        if resolved.exists() and not resolved.is_file():
            raise OutputError(f'{path} cannot be written: it is a folder or a device, not a file')
        resolved.parent.mkdir(parents=True, exist_ok=True)
        probe = resolved.with_name(f'.{resolved.name}.{os.getpid()}.probe')
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f'{path} cannot be written: a part of it is no folder') from error
    except OSError as error:
        raise OutputError(f'{path} cannot be written: {error.strerror}') from error


def write_tum(
    path: Path, timestamps: Sequence[float], world_from_camera: Sequence[FloatArray]
) -> None:
    """Writes a TUM trajectory.

    Args:
        path: the file; parent folders are made.
        timestamps: N, seconds.
        world_from_camera: N of (4, 4), metres.

    Raises:
        OSError: the file cannot be written.
    """
    lines = ['# timestamp tx ty tz qx qy qz qw (camera-to-world, metres)\n']
    for timestamp, pose in zip(timestamps, world_from_camera, strict=True):
        rotation = torch.from_numpy(np.ascontiguousarray(pose[:3, :3], dtype=np.float64))
        quaternion = poses.matrix_to_quaternion(rotation).numpy()
        numbers = ' '.join(f'{value:.9f}' for value in (*pose[:3, 3], *quaternion))
        lines.append(f'{timestamp:.9f} {numbers}\n')
    with replacing(path) as temporary:
        temporary.write_text(''.join(lines), encoding='utf-8')


def read_tum(path: Path) -> tuple[FloatArray, FloatArray]:
    """Reads a TUM trajectory.

    Returns:
        Timestamps (N,) in seconds, and world_from_camera (N, 4, 4) in metres.

    Raises:
        DataError: a line is not a pose; names file and line.
        OSError: the file cannot be read.
    """
    timestamps: list[float] = []
    transforms: list[FloatArray] = []
    for place, words in _lines(path):
        if len(words) != 8:
            raise DataError(
                f'{place}: {len(words)} values, but a TUM line has 8: '
                'timestamp tx ty tz qx qy qz qw'
            )
        numbers = _numbers(place, words)
        timestamps.append(numbers[0])
        transforms.append(_rigid(place, numbers[1:4], numbers[4:8]))
    return np.array(timestamps), np.array(transforms).reshape(-1, 4, 4)


def read_world_to_camera(path: Path) -> dict[str, FloatArray]:
    """Reads `file qw qx qy qz tx ty tz ...` lines; what follows the seventh number is ignored.

    Returns:
        world_from_camera (4, 4) in metres by file name, in the order of the lines.

    Raises:
        DataError: a line is not a pose, or names a file again; names file and line.
        OSError: the file cannot be read.
    """
    transforms: dict[str, FloatArray] = {}
    for place, words in _lines(path):
        if len(words) < 8:
            raise DataError(
                f'{place}: {len(words)} values, but at least 8 are needed: '
                'file qw qx qy qz tx ty tz'
            )
        if words[0] in transforms:
            raise DataError(f'{place}: {words[0]} already has a pose')
        w, x, y, z, *translation = _numbers(place, words[1:8])
        camera_from_world = _rigid(place, translation, [x, y, z, w])
        transforms[words[0]] = np.asarray(np.linalg.inv(camera_from_world), dtype=np.float64)
    return transforms


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """`file:line` and the words of each line that is neither empty nor a comment."""
    try:
        text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not a text file') from error
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith('#'):
            yield f'{path}:{number}', words


def _numbers(place: str, words: list[str]) -> list[float]:
    numbers = []
    for word in words:
        try:
            number = float(word)
        except ValueError as error:
            raise DataError(f'{place}: {word!r} is not a number') from error
        if not math.isfinite(number):
            raise DataError(f'{place}: {word!r} is not a finite number')
        numbers.append(number)
    return numbers


def _rigid(place: str, translation: list[float], quaternion: list[float]) -> FloatArray:
    """The (4, 4) transform of a translation and a quaternion x y z w that must be of length 1."""
    length = math.hypot(*quaternion)
    if abs(length - 1.0) > QUATERNION_TOLERANCE:
        raise DataError(f'{place}: the quaternion has length {length:.4g}, not 1: no rotation')
    unit = torch.tensor(quaternion, dtype=torch.float64) / length
    transform = np.eye(4)
    transform[:3, :3] = poses.quaternion_to_matrix(unit).numpy()
    transform[:3, 3] = translation
    return transform
