"""One sequence of 7-Scenes redkitchen with poses from structure from motion.

A folder with rgb/frame-NNNNNN.jpg, optionally depth/frame-NNNNNN.png (millimetres), poses_sfm.txt
with lines `frame tx ty tz qx qy qz qw` (camera-to-world), and the lists train.txt and test.txt.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.images import (
    check_image_file,
    find_extras,
    load_depth,
    load_image,
)
from implicit_loc_trainer.datasets.parsing import (
    numbered_lines,
    numbers,
    placed_lines,
    rigid_from_quaternion,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import FRAMES_PER_SECOND

# Colour camera, self-calibrated with these poses; no distortion.
CAMERA = Camera(width=640, height=480, fx=525.505, fy=525.505, cx=319.5, cy=239.5)

_POSES = 'poses_sfm.txt'


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / _POSES).is_file() and (path / 'rgb').is_dir()


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split in the order of its list.

    Raises:
        DataError: a malformed line, a pose that is not a rigid transform, a frame that has two
            poses or is listed twice, or lacks its image or pose, an image of another size.
    """
    list_file = split if isinstance(split, Path) else path / f'{split}.txt'
    poses = _read_poses(path / _POSES)
    samples: dict[str, Sample] = {}
    for number, name in numbered_lines(list_file):
        place = f'{list_file}:{number}'
        if name in samples:
            raise DataError(f'{place}: the frame {name!r} is named twice')
        _check_name(place, name)
        if name not in poses:
            raise DataError(f'{place}: {_POSES} has no pose for the frame {name!r}')
        image_file = path / 'rgb' / f'frame-{name}.jpg'
        check_image_file(place, image_file, CAMERA)
        depth_file = path / 'depth' / f'frame-{name}.png'
        samples[name] = Sample(
            name=name,
            camera=CAMERA,
            world_from_camera=poses[name],
            timestamp=int(name) / FRAMES_PER_SECOND,
            load_image=partial(load_image, place, image_file, CAMERA),
            load_depth=partial(load_depth, depth_file) if depth_file.is_file() else None,
            load_mask=find_extras(path, name, CAMERA).load_mask,
        )
    return list(samples.values())


def _check_name(place: str, name: str) -> None:
    # Other scripts have digits too, and int() reads them; files are not called so.
    if not (name.isascii() and name.isdecimal()):
        raise DataError(f'{place}: a frame is a number such as 000600, found {name!r}')


def _read_poses(file: Path) -> dict[str, NDArray[np.float64]]:
    poses: dict[str, NDArray[np.float64]] = {}
    for place, (name, *fields) in placed_lines(file):
        _check_name(place, name)
        if name in poses:
            raise DataError(f'{place}: the frame {name} already has a pose')
        values = numbers(place, fields)
        if len(values) != 7:
            raise DataError(
                f'{place}: a pose is "frame tx ty tz qx qy qz qw", '
                f'found {len(values)} numbers after the frame'
            )
        poses[name] = rigid_from_quaternion(place, values[:3], values[3:])
    return poses
