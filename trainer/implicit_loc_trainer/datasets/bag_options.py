"""What a recording.yaml says about a bag: its topics, frames and limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from implicit_loc_trainer.datasets.parsing import FloatArray, read_yaml, rigid_from_quaternion
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.datasets.splits import BLOCKS, TEST_EVERY

OPTIONS_FILE = 'recording.yaml'
METADATA_FILE = 'metadata.yaml'
STORAGE_SUFFIXES = ('.mcap', '.db3')


@dataclass(frozen=True)
class TfFrames:
    """The frames between which TF is looked up."""

    world: str
    camera: str


@dataclass(frozen=True)
class Recording:
    """A bag and how to read it; None = found by the types of its topics.

    Attributes:
        bag: folder, .mcap or .db3 file.
        root: folder of train.txt, test.txt, masks/ and depth/.
        image_topic: Image or CompressedImage.
        camera_info_topic: CameraInfo of these images.
        camera: file in the format of ROS's camera calibration, instead of a CameraInfo.
        rectified: the images are rectified: P holds their intrinsics, and no distortion is left;
            None = their topic is called image_rect or image_rect_color.
        depth_topic: Image in 16UC1 (mm) or 32FC1 (m), registered to the images.
        pose_topic: PoseStamped, PoseWithCovarianceStamped, TransformStamped or Odometry.
        tf: frames to look up in TF, instead of pose_topic.
        tracked_frame: whose pose pose_topic gives; Odometry and TransformStamped say it.
        camera_frame: optical frame of the camera; None = the frame_id of the images.
        tracked_from_camera: (4, 4), instead of TF.
        max_gap_s: between the measurements around an image.
        keyframe_distance_m: kept from this distance to the last kept frame on; 0 keeps all.
        keyframe_angle_deg: likewise for the angle.
        blocks: into which the frames are cut.
        test_every: of so many blocks the last one is for testing.
    """

    bag: Path
    root: Path
    image_topic: str | None = None
    camera_info_topic: str | None = None
    camera: Path | None = None
    rectified: bool | None = None
    depth_topic: str | None = None
    pose_topic: str | None = None
    tf: TfFrames | None = None
    tracked_frame: str | None = None
    camera_frame: str | None = None
    tracked_from_camera: FloatArray | None = None
    max_gap_s: float = 0.2
    keyframe_distance_m: float = 0.1
    keyframe_angle_deg: float = 5.0
    blocks: int = BLOCKS
    test_every: int = TEST_EVERY


def find_options(path: Path) -> Path | None:
    """The recording.yaml of a path: the file itself, or one in the folder."""
    if path.is_file():
        return path if path.suffix in ('.yaml', '.yml') else None
    return path / OPTIONS_FILE if (path / OPTIONS_FILE).is_file() else None


def read_recording(path: Path) -> Recording:
    """The options of a bag or of a recording.yaml.

    Raises:
        DataError: the file cannot be read, a key is unknown or has a wrong value.
    """
    file = find_options(path)
    if file is None:
        return Recording(bag=path, root=path if path.is_dir() else path.parent)
    root = file.parent
    content = read_yaml(file)
    known = [field.name for field in fields(Recording) if field.name not in _INTERNAL] + ['split']
    for key in content:
        if key not in known:
            raise DataError(f'{file}: the key {key!r} is not known; known are {", ".join(known)}')
    if 'pose_topic' in content and 'tf' in content:
        raise DataError(f'{file}: give pose_topic or tf, not both')
    values: dict[str, Any] = {'bag': root}
    for key, value in content.items():
        if key in ('bag', 'camera'):
            values[key] = root / _text(file, key, value)
        elif key == 'tf':
            names = ('world', 'camera')
            frames = zip(names, _block(file, key, value, names), strict=True)
            values[key] = TfFrames(*(_text(file, f'tf.{name}', frame) for name, frame in frames))
        elif key == 'tracked_from_camera':
            values[key] = read_transform(file, key, value)
        elif key == 'split':
            names = ('blocks', 'test_every')
            for name, count in zip(names, _block(file, key, value, names), strict=True):
                values[name] = _count(file, f'split.{name}', count)
        elif key == 'rectified':
            if not isinstance(value, bool):
                raise DataError(f'{file}: rectified must be true or false, found {value!r}')
            values[key] = value
        elif key in ('max_gap_s', 'keyframe_distance_m', 'keyframe_angle_deg'):
            values[key] = _size(file, key, value)
        else:
            values[key] = _text(file, key, value)
    return Recording(root=root, **values)


# Attributes that are no keys of the file, or stand there under split.
_INTERNAL = ('root', 'blocks', 'test_every')


def _text(file: Path, key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise DataError(f'{file}: {key} must be a name, found {value!r}')
    return value


def _size(file: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f'{file}: {key} must be a number, found {value!r}')
    if not math.isfinite(value) or value < 0:
        raise DataError(f'{file}: {key} must not be negative, found {value!r}')
    return float(value)


def _count(file: Path, key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise DataError(f'{file}: {key} must be a whole number from 2 on, found {value!r}')
    return value


def _block(file: Path, key: str, value: object, names: Sequence[str]) -> list[object]:
    """The values of a block that has exactly these keys."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise DataError(f'{file}: {key} must have the keys {" and ".join(names)}, found {value!r}')
    return [value[name] for name in names]


def read_transform(file: Path, key: str, value: object) -> FloatArray:
    """The rigid transform of a block with `translation: [x, y, z]` and `rotation: [x, y, z, w]`.

    Args:
        file: where it stands, for messages.
        key: likewise.
        value: what YAML made of the block.

    Returns:
        (4, 4), metres.

    Raises:
        DataError: another block, or no rigid transform.
    """
    translation, rotation = (
        _vector(file, f'{key}.{name}', vector, length)
        for name, vector, length in zip(
            ('translation', 'rotation'),
            _block(file, key, value, ('translation', 'rotation')),
            (3, 4),
            strict=True,
        )
    )
    return rigid_from_quaternion(f'{file}: {key}', translation, rotation)


def _vector(file: Path, key: str, value: object, length: int) -> list[float]:
    if (
        not isinstance(value, list)
        or len(value) != length
        or any(isinstance(item, bool) or not isinstance(item, int | float) for item in value)
    ):
        raise DataError(f'{file}: {key} must have {length} numbers, found {value!r}')
    return [float(item) for item in value]
