"""Folders in the style of the TUM RGB-D benchmark: images, a trajectory and a camera file.

rgb.txt (lines `timestamp filename`), groundtruth.txt (`timestamp tx ty tz qx qy qz qw`,
camera-to-world), camera.yaml in the format of ROS's camera calibration, optionally depth.txt
(`timestamp filename`; 5000 units per metre, registered) and train.txt or test.txt with names as
in rgb.txt. Poses are interpolated to the images' stamps; images without one are left out and
counted. A groundtruth.txt of lines `timestamp tx ty tz` gives positions without orientations.
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.camera_info import read_camera_yaml
from implicit_loc_trainer.datasets.images import (
    check_image_file,
    find_extras,
    load_depth,
    load_image,
)
from implicit_loc_trainer.datasets.interpolation import PoseTrack
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    numbers,
    placed_lines,
    read_tum,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import check_split, split_samples

# Measurements further apart say too little about what is between them.
MAX_GAP_S = 0.2

# The benchmark's own tool associates depth and colour up to this difference.
_DEPTH_DIFFERENCE_S = 0.02
_DEPTH_UNITS_PER_METRE = 5000.0

_IMAGES, _POSES, _CAMERA, _DEPTH = 'rgb.txt', 'groundtruth.txt', 'camera.yaml', 'depth.txt'

_logger = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / _IMAGES).is_file()


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split that have a pose.

    Args:
        path: The folder.
        split: 'train', 'test', or a text file of names as in rgb.txt.

    Raises:
        DataError: a missing file, a malformed line, a quaternion that is not unit, poses and
            images that do not overlap in time, an image of another size.
    """
    check_split(path, split)
    camera = read_camera_yaml(path / _CAMERA)
    images = _read_files(path / _IMAGES)
    if not images:
        raise DataError(f'{path / _IMAGES} names no image')
    track, has_orientation = _read_track(path / _POSES)
    times = np.array([time for _, time, _ in images])
    transforms, known = track.at(times, MAX_GAP_S)
    if not known.any():
        raise DataError(
            f'no image of {path} has a pose: the images are from {times.min():.3f} to '
            f'{times.max():.3f} s, the poses from {track.times[0]:.3f} to {track.times[-1]:.3f} s'
            f', and a gap between poses may be {MAX_GAP_S} s'
        )
    depth = _associate_depth(path, times)
    samples = [
        _sample(path, place, name, camera, transforms[index], time - times.min(), depth.get(index))
        for index, (place, time, name) in enumerate(images)
        if known[index]
    ]
    if not has_orientation:
        samples = [sample.position_only() for sample in samples]
    if len(samples) < len(images):
        missing = len(images) - len(samples)
        _logger.warning('%s: %d of %d images have no pose', path, missing, len(images))
    return split_samples(path, samples, split)


def _sample(
    path: Path,
    place: str,
    name: str,
    camera: Camera,
    world_from_camera: FloatArray,
    timestamp: float,
    depth: Path | None,
) -> Sample:
    check_image_file(place, path / name, camera)
    return Sample(
        name=name,
        camera=camera,
        world_from_camera=world_from_camera,
        timestamp=timestamp,
        load_image=partial(load_image, place, path / name, camera),
        load_depth=partial(load_depth, depth, _DEPTH_UNITS_PER_METRE) if depth else None,
        load_mask=find_extras(path, name, camera).load_mask,
    )


def _read_files(file: Path) -> list[tuple[str, float, str]]:
    """`file:line`, stamp and file name of each line, in the order of time."""
    files = []
    names = set()
    for place, words in placed_lines(file):
        if len(words) != 2:
            raise DataError(f'{place}: expected "timestamp filename", found {len(words)} values')
        if words[1] in names:
            raise DataError(f'{place}: {words[1]} is named twice')
        names.add(words[1])
        files.append((place, numbers(place, words[:1])[0], words[1]))
    return sorted(files, key=lambda entry: entry[1])


def _read_track(file: Path) -> tuple[PoseTrack, bool]:
    """The camera over time, and whether its orientation is known."""
    lengths = {len(words) for _, words in placed_lines(file)}
    read = _read_positions if lengths == {4} else read_tum
    times, transforms = read(file)
    if not len(times):
        raise DataError(f'{file} has no poses')
    return PoseTrack.from_measurements(times, transforms), lengths != {4}


def _read_positions(file: Path) -> tuple[FloatArray, FloatArray]:
    """Stamps (N,) and transforms without rotation (N, 4, 4) of `timestamp tx ty tz` lines."""
    values = np.array([numbers(place, words) for place, words in placed_lines(file)])
    transforms = np.tile(np.eye(4), (len(values), 1, 1))
    transforms[:, :3, 3] = values[:, 1:]
    return values[:, 0], transforms


def _associate_depth(path: Path, times: FloatArray) -> dict[int, Path]:
    """The depth image nearest to each of the stamps, by index, where one is near enough."""
    if not (path / _DEPTH).is_file():
        return {}
    depth = _read_files(path / _DEPTH)
    if not depth:
        return {}
    depth_times = np.array([time for _, time, _ in depth])
    found = {}
    for index, time in enumerate(times):
        nearest = int(np.abs(depth_times - time).argmin())
        if abs(depth_times[nearest] - time) > _DEPTH_DIFFERENCE_S:
            continue
        place, _, name = depth[nearest]
        if not (path / name).is_file():
            raise DataError(f'{place}: there is no depth image {path / name}')
        found[index] = path / name
    return found
