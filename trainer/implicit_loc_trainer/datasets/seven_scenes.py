"""7-Scenes: one scene as its authors distribute it.

A folder with TrainSplit.txt and TestSplit.txt (lines `sequence1`) and seq-01/ with
frame-000000.color.png, .depth.png and .pose.txt (4x4, camera-to-world). Where the folder also
holds poses_train.txt and poses_test.txt, or <scene>_train.txt and <scene>_test.txt (lines
`file qw qx qy qz tx ty tz f`, world-to-camera), these labels and focal lengths are used instead.

The depth images are those of the depth camera, not registered to the colour image: they are not
offered. Registered ones may lie in depth/seq-01/frame-000000.png.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.images import check_image_file, find_extras, load_image
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    make_camera,
    numbered_lines,
    numbers,
    placed_lines,
    read_world_to_camera,
    rigid_from_matrix,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import FRAMES_PER_SECOND, read_listed

# The colour camera's own; 585, which is often used, is the depth camera's.
FOCAL_LENGTH = 525.0

_SIZE = (640, 480)
_SPLIT_FILES = {'train': 'TrainSplit.txt', 'test': 'TestSplit.txt'}
_COLOUR = '.color.png'


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any((path / file).is_file() for file in _SPLIT_FILES.values())


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split, sequence by sequence.

    Args:
        path: The folder of a scene.
        split: 'train', 'test', or a text file of names such as seq-01/frame-000000.

    Raises:
        DataError: a missing file, a malformed line, a pose that is no rigid transform, an image
            of another size.
    """
    return read_listed(path, split, _read_split)


def read_pose_matrix(file: Path) -> FloatArray:
    """The numbers of a 4x4 pose file, (4, 4); they may be anything, also infinite.

    Raises:
        DataError: not four lines of four numbers.
    """
    rows = []
    for number, line in numbered_lines(file):
        words = line.split()
        if len(words) != 4:
            raise DataError(f'{file}:{number}: a row has 4 numbers, found {len(words)}')
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise DataError(f'{file}:{number}: {error}') from error
    if len(rows) != 4:
        raise DataError(f'{file}: a pose has 4 rows, found {len(rows)}')
    return np.array(rows)


def find_pose_list(path: Path, split: str) -> Path | None:
    """The file of alternative labels for a split, if the scene has them.

    Raises:
        DataError: only the other split has them: their worlds would differ.
    """
    for stem in ('poses', path.resolve().name):
        files = {name: path / f'{stem}_{name}.txt' for name in _SPLIT_FILES}
        if not any(file.is_file() for file in files.values()):
            continue
        for file in files.values():
            if not file.is_file():
                raise DataError(
                    f'{file} is missing: the labels of the other split are of another world, '
                    'so use both or none'
                )
        return files[split]
    return None


def _read_split(path: Path, split: str) -> list[Sample]:
    pose_list = find_pose_list(path, split)
    if pose_list is not None:
        return _read_relabelled(path, pose_list)
    samples: list[Sample] = []
    camera = _camera(str(path), FOCAL_LENGTH)
    for place, words in placed_lines(path / _SPLIT_FILES[split]):
        folder = path / _sequence_folder(place, words)
        images = sorted(folder.glob(f'frame-*{_COLOUR}'))
        if not images:
            raise DataError(f'{place}: {folder} has no frame-*{_COLOUR}')
        for image in images:
            pose_file = image.with_name(image.name.replace(_COLOUR, '.pose.txt'))
            pose = rigid_from_matrix(str(pose_file), read_pose_matrix(pose_file))
            samples.append(_sample(path, place, image, camera, pose, len(samples)))
    return samples


def _read_relabelled(path: Path, pose_list: Path) -> list[Sample]:
    samples: list[Sample] = []
    for name, (place, pose, further) in read_world_to_camera(pose_list).items():
        if len(further) != 1:
            raise DataError(
                f'{place}: a label is "file qw qx qy qz tx ty tz f", '
                f'found {8 + len(further)} values'
            )
        (focal_length,) = numbers(place, further)
        if focal_length <= 0:
            raise DataError(f'{place}: the focal length is {focal_length}: it must be > 0')
        camera = _camera(place, focal_length)
        samples.append(_sample(path, place, path / name, camera, pose, len(samples)))
    return samples


def _sample(
    path: Path,
    place: str,
    image: Path,
    camera: Camera,
    world_from_camera: NDArray[np.float64],
    index: int,
) -> Sample:
    check_image_file(place, image, camera)
    name = image.relative_to(path).as_posix().removesuffix(_COLOUR)
    extras = find_extras(path, name, camera)
    return Sample(
        name=name,
        camera=camera,
        world_from_camera=world_from_camera,
        timestamp=index / FRAMES_PER_SECOND,
        load_image=partial(load_image, place, image, camera),
        load_depth=extras.load_depth,
        load_mask=extras.load_mask,
    )


def _camera(place: str, focal_length: float) -> Camera:
    # The principal point is (320, 240) from the image's corner.
    return make_camera(place, _SIZE, (focal_length, focal_length, 319.5, 239.5))


def _sequence_folder(place: str, words: list[str]) -> str:
    """The folder of a line such as 'sequence1'."""
    match = re.fullmatch(r'sequence\s*(\d+)', ' '.join(words))
    if match is None:
        raise DataError(f'{place}: expected a line such as sequence1, found {" ".join(words)!r}')
    return f'seq-{int(match[1]):02d}'
