"""12-Scenes: one room as its authors distribute it.

A folder with data/frame-000000.color.jpg, .pose.txt (4x4, camera-to-world) and .depth.png
(millimetres), info.txt (`m_calibrationColorIntrinsic = ...`) and split.txt with a line
`sequence0 [frames=357] [start=0 ; end=356]` for each sequence; sequence0 is the test split.
Frames whose tracking was lost have poses of inf or nan: they are left out and counted.
"""

import logging
import re
from functools import partial
from pathlib import Path

import numpy as np

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.images import (
    check_image_file,
    find_extras,
    load_depth,
    load_image,
)
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    make_camera,
    numbered_lines,
    numbers,
    rigid_from_matrix,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.seven_scenes import read_pose_matrix
from implicit_loc_trainer.datasets.splits import FRAMES_PER_SECOND, read_listed

_TEST_SEQUENCE = 'sequence0'
_SEQUENCE = re.compile(
    r'(\w+)\s*\[\s*frames\s*=\s*(\d+)\s*\]\s*\[\s*start\s*=\s*(\d+)\s*;\s*end\s*=\s*(\d+)\s*\]'
)
_COLOUR = '.color.jpg'

# Relative difference of focal lengths below which depth and colour are one camera, resized.
_SAME_CAMERA = 0.01

_logger = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / 'split.txt').is_file() or (
        (path / 'info.txt').is_file() and (path / 'data').is_dir()
    )


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split that have a pose.

    Args:
        path: The folder of a room.
        split: 'train', 'test', or a text file of names such as frame-000000.

    Raises:
        DataError: a missing file, a malformed line, a pose that is no rigid transform, an image
            of another size.
    """
    return read_listed(path, split, _read_split)


def _read_split(path: Path, split: str) -> list[Sample]:
    info = _read_info(path / 'info.txt')
    camera = _colour_camera(path / 'info.txt', info)
    registered = _depth_is_registered(path / 'info.txt', info, camera)
    samples, lost = [], 0
    for place, frame in _frames(path / 'split.txt', split):
        name = f'frame-{frame:06d}'
        image = path / 'data' / f'{name}{_COLOUR}'
        check_image_file(place, image, camera)
        pose_file = path / 'data' / f'{name}.pose.txt'
        matrix = read_pose_matrix(pose_file)
        if not np.isfinite(matrix).all():
            lost += 1
            continue
        extras = find_extras(path, name, camera)
        depth = path / 'data' / f'{name}.depth.png'
        use_depth = registered and depth.is_file()
        samples.append(
            Sample(
                name=name,
                camera=camera,
                world_from_camera=rigid_from_matrix(str(pose_file), matrix),
                timestamp=frame / FRAMES_PER_SECOND,
                load_image=partial(load_image, place, image, camera),
                load_depth=partial(load_depth, depth) if use_depth else extras.load_depth,
                load_mask=extras.load_mask,
            )
        )
    if lost:
        _logger.warning('%s: %d %s frames without a pose (tracking lost)', path, lost, split)
    return samples


def _frames(file: Path, split: str) -> list[tuple[str, int]]:
    """`file:line` and number of each frame of a split."""
    frames = []
    for number, line in numbered_lines(file):
        match = _SEQUENCE.fullmatch(line)
        if match is None:
            raise DataError(
                f'{file}:{number}: expected "sequence0 [frames=357] [start=0 ; end=356]", '
                f'found {line!r}'
            )
        count, start, end = (int(value) for value in match.groups()[1:])
        if end - start + 1 != count:
            raise DataError(f'{file}:{number}: {start} to {end} are not {count} frames')
        if (match[1] == _TEST_SEQUENCE) == (split == 'test'):
            frames += [(f'{file}:{number}', frame) for frame in range(start, end + 1)]
    return frames


def _read_info(file: Path) -> dict[str, tuple[str, list[str]]]:
    """`file:line` and the words of the value, by key."""
    info = {}
    for number, line in numbered_lines(file):
        key, separator, value = line.partition('=')
        if not separator:
            raise DataError(f'{file}:{number}: expected "key = value", found {line!r}')
        info[key.strip()] = (f'{file}:{number}', value.split())
    return info


def _values(
    file: Path, info: dict[str, tuple[str, list[str]]], key: str, count: int
) -> tuple[str, list[float]]:
    """`file:line` and the numbers of a key."""
    if key not in info:
        raise DataError(f'{file} lacks {key}')
    place, words = info[key]
    values = numbers(place, words)
    if len(values) != count:
        raise DataError(f'{place}: {key} has {count} numbers, found {len(values)}')
    return place, values


def _colour_camera(file: Path, info: dict[str, tuple[str, list[str]]]) -> Camera:
    place, values = _values(file, info, 'm_calibrationColorIntrinsic', 16)
    K = np.array(values).reshape(4, 4)
    _, (width,) = _values(file, info, 'm_colorWidth', 1)
    _, (height,) = _values(file, info, 'm_colorHeight', 1)
    return make_camera(place, (int(width), int(height)), (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))


def _depth_is_registered(
    file: Path, info: dict[str, tuple[str, list[str]]], camera: Camera
) -> bool:
    """Whether the depth images look through the colour camera, only at another size."""
    if 'm_calibrationDepthIntrinsic' not in info or 'm_depthWidth' not in info:
        return False
    _, (width,) = _values(file, info, 'm_depthWidth', 1)
    depth_focal_length = _values(file, info, 'm_calibrationDepthIntrinsic', 16)[1][0]
    expected = camera.fx * width / camera.width
    return abs(depth_focal_length / expected - 1) < _SAME_CAMERA and all(
        np.allclose(_extrinsic(file, info, key), np.eye(4), atol=1e-3)
        for key in ('m_calibrationColorExtrinsic', 'm_calibrationDepthExtrinsic')
        if key in info
    )


def _extrinsic(file: Path, info: dict[str, tuple[str, list[str]]], key: str) -> FloatArray:
    return np.array(_values(file, info, key, 16)[1]).reshape(4, 4)
