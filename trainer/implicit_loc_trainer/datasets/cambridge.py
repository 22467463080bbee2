"""Cambridge Landmarks: one scene as its authors distribute it.

A folder with the images (seq1/frame00001.png, 1920x1080), dataset_train.txt and dataset_test.txt
(three lines of header, then `file X Y Z W P Q R`: the camera's centre in the world, and the
quaternion w x y z of the rotation from world to camera), and reconstruction.nvm, which holds the
focal length of every image under its name with .jpg.
"""

from functools import partial
from pathlib import Path

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.images import check_image_file, find_extras, load_image
from implicit_loc_trainer.datasets.parsing import (
    make_camera,
    numbered_lines,
    numbers,
    placed_lines,
    rigid_from_quaternion,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import FRAMES_PER_SECOND, read_listed

_SIZE = (1920, 1080)
_HEADER_LINES = 3
_MODEL = 'reconstruction.nvm'

# file, centre x y z, quaternion w x y z
_POSE_WORDS = 8

# name, focal length, quaternion w x y z, centre x y z, radial distortion, 0
_MODEL_CAMERA_WORDS = 11


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any((path / f'dataset_{split}.txt').is_file() for split in ('train', 'test'))


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split in the order of its file.

    Args:
        path: The folder of a scene.
        split: 'train', 'test', or a text file of names such as seq1/frame00001.png.

    Raises:
        DataError: a missing file, a malformed line, a quaternion that is not unit, an image
            without focal length or of another size.
    """
    return read_listed(path, split, _read_split)


def _read_split(path: Path, split: str) -> list[Sample]:
    cameras = _read_cameras(path / _MODEL)
    samples: list[Sample] = []
    poses = path / f'dataset_{split}.txt'
    _check_header(poses)
    for place, words in placed_lines(poses, skip=_HEADER_LINES):
        if len(words) != _POSE_WORDS:
            raise DataError(f'{place}: a pose is "file X Y Z W P Q R", found {len(words)} values')
        name = words[0]
        x, y, z, qw, qx, qy, qz = numbers(place, words[1:])
        # The inverse of the rotation from world to camera turns about the opposite axis; the
        # centre is the translation of camera-to-world as it stands.
        world_from_camera = rigid_from_quaternion(place, (x, y, z), (-qx, -qy, -qz, qw))
        camera = cameras.get(_stem(name))
        if camera is None:
            raise DataError(f'{place}: {path / _MODEL} has no focal length for {name}')
        check_image_file(place, path / name, camera)
        extras = find_extras(path, name, camera)
        samples.append(
            Sample(
                name=name,
                camera=camera,
                world_from_camera=world_from_camera,
                timestamp=len(samples) / FRAMES_PER_SECOND,
                load_image=partial(load_image, place, path / name, camera),
                load_depth=extras.load_depth,
                load_mask=extras.load_mask,
            )
        )
    return samples


def _check_header(file: Path) -> None:
    """Refuses a file whose first frames would be taken for its header."""
    for number, line in numbered_lines(file)[:_HEADER_LINES]:
        if number <= _HEADER_LINES and _is_pose(line.split()):
            raise DataError(
                f'{file}:{number}: a pose where the header of {_HEADER_LINES} lines should be: '
                'put it before the first frame'
            )


def _is_pose(words: list[str]) -> bool:
    try:
        return len(words) == _POSE_WORDS and bool(numbers('', words[1:]))
    except DataError:
        return False


def _read_cameras(file: Path) -> dict[str, Camera]:
    """The camera of every image, by its name without the suffix."""
    lines = numbered_lines(file)
    if not lines or not lines[0][1].startswith('NVM_V3'):
        raise DataError(f'{file}: an NVM model begins with NVM_V3')
    if len(lines) < 2 or not lines[1][1].isdigit():
        raise DataError(f'{file}: the number of cameras is missing after the header')
    count = int(lines[1][1])
    cameras = {}
    for number, line in lines[2 : 2 + count]:
        place, words = f'{file}:{number}', line.split()
        if len(words) != _MODEL_CAMERA_WORDS:
            raise DataError(
                f'{place}: a camera has {_MODEL_CAMERA_WORDS} values, found {len(words)}'
            )
        (focal_length,) = numbers(place, words[1:2])
        # The principal point is the image's centre; the first pixel's centre counts as 0.
        centre = ((_SIZE[0] - 1) / 2, (_SIZE[1] - 1) / 2)
        cameras[_stem(words[0])] = make_camera(place, _SIZE, (focal_length, focal_length, *centre))
    if len(cameras) < count:
        raise DataError(f'{file}: the model names {count} cameras, but lists {len(cameras)}')
    return cameras


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(''))
