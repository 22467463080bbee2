"""Bags that cannot be read as they are: each has one clear error."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_messages import (
    NO_TURN,
    OPTICAL,
    START_NS,
    Message,
    image,
    images,
    info,
    make,
    pose_message,
    poses,
    tf,
    transform,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin

from implicit_loc_trainer.datasets import DataError, open_dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag of messages, and options beside it; gives what to open."""
    return partial(write_bag, tmp_path)


def unrelated() -> Message:
    return '/chatter', 'std_msgs/msg/String', START_NS, make('std_msgs/String', data='hello')


def late_poses() -> list[Message]:
    return [pose_message('geometry_msgs/PoseStamped', START_NS + 10**11, 0.0, NO_TURN)]


def spoiled(stamp_ns: int, y: float, turn: tuple[float, ...]) -> list[Message]:
    return [pose_message('geometry_msgs/PoseStamped', stamp_ns, y, turn)]


def links(*names: tuple[str, str]) -> list[Message]:
    moves = [transform(START_NS, parent, child, (0, 0, 0), NO_TURN) for parent, child in names]
    return [tf('/tf', START_NS, *moves)]


@pytest.mark.parametrize(
    ('messages', 'options', 'error'),
    [
        ([*images(), info(), *poses()], {'image_topic': '/front'}, r'no topic /front: .*/poses'),
        ([*images(), info(), *poses()], {'pose_topic': '/odom'}, r'no topic /odom: .*/poses'),
        ([*images(), info(), *poses()], {'depth_topic': '/d'}, r'no topic /d: .*/poses'),
        ([*images(), *poses()], {}, r'no topic of sensor_msgs/msg/CameraInfo: .*/poses'),
        ([info(), *poses()], {}, r'no topic of sensor_msgs/msg/Image .*: .*/poses'),
        ([*images(), info(), unrelated()], {}, r'has no poses: .*/chatter'),
        (
            [*images(), info(), unrelated()],
            {'pose_topic': '/chatter'},
            r'/chatter is of the type std_msgs/msg/String, which is none of .*PoseStamped',
        ),
        (
            [*images(), info(), *poses(), ('/poses2', *poses()[0][1:])],
            {},
            r'several topics of .*/poses, /poses2; name one as pose_topic',
        ),
        ([*images(), info(), *late_poses()], {}, r'do not overlap: .*from 100\.000 to 100\.000 s'),
        ([*images(), info(), *spoiled(START_NS, 0, (0, 0, 0, 2))], {}, 'message 0: .*rotation'),
        ([*images(), info(), *spoiled(START_NS, np.nan, NO_TURN)], {}, 'message 0: .*not finite'),
        ([*images(), info(width=32), *poses()], {}, r'64x48 pixels, the camera 32x48'),
        ([*images(), info(focal_length=0), *poses()], {}, r'/camera/camera_info: .*calibrated'),
        ([image(START_NS, 'nv21'), info(), *poses()], {}, r"'nv21'; known are rgb8, bgr8"),
        ([*images(), info(), *poses()], {'tracked_frame': 'arm'}, r'not connect arm and camera'),
        ([*images(), info(), *poses()], {'tf': {'world': 'map', 'camera': 'c'}}, 'not connect'),
        (
            [*images(), info(), *links(('a', OPTICAL), ('b', OPTICAL))],
            {},
            'two parents',
        ),
        (
            [*images(), info(), *links(('a', OPTICAL), (OPTICAL, 'a'))],
            {},
            'loop',
        ),
        ([*images(), info(), *poses()], {'rectified': 1}, 'rectified must be true or false'),
        ([*images(), info(), *poses()], {'max_gap': 1}, r"'max_gap' is not known; .*max_gap_s"),
        ([*images(), info(), *poses()], {'max_gap_s': -1}, 'max_gap_s must not be negative'),
        ([*images(), info(), *poses()], {'max_gap_s': 'x'}, 'max_gap_s must be a number'),
        ([*images(), info(), *poses()], {'image_topic': 5}, 'image_topic must be a name'),
        ([*images(), info(), *poses()], {'tf': {'world': 'map'}}, 'world and camera'),
        ([*images(), info(), *poses()], {'split': {'blocks': 1, 'test_every': 5}}, 'from 2 on'),
        ([*images(1), info(), *poses()], {'max_gap_s': 0.01}, 'do not overlap'),
        ([*images(), info(), *poses()], {'bag': 'elsewhere'}, 'cannot read the bag'),
        ([*images(), info(), *poses()], {'bag': '.'}, r'no metadata\.yaml and 0 files .*no bag'),
    ],
)
def test_what_cannot_be_read_is_said(
    write: Callable[..., Path], messages: list[Message], options: dict[str, Any], error: str
) -> None:
    path = write(messages, **options)
    with pytest.raises(DataError, match=error):
        open_dataset(path, 'train')


def test_an_empty_split_and_an_unknown_name(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write([*images(1), info(), *poses()])
    with pytest.raises(DataError, match='has no frames'):
        open_dataset(path, 'test')
    (tmp_path / 'list.txt').write_text('000000\n000077\n')
    with pytest.raises(DataError, match=r'list\.txt:2: .*000077'):
        open_dataset(path, tmp_path / 'list.txt')


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_truncated_bag(write: Callable[..., Path], storage: StoragePlugin) -> None:
    path = write([*images(), info(), *poses()], storage)
    (file,) = (item for item in path.iterdir() if item.suffix in ('.mcap', '.db3'))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match='cannot read the bag'):
        open_dataset(path, 'train')
    (path / 'metadata.yaml').rename(path / 'other.yaml')
    with pytest.raises(DataError, match=r'no metadata\.yaml.* is incomplete .*ros2 bag reindex'):
        open_dataset(path, 'train')
    (path / f'second{file.suffix}').write_bytes(b'')
    with pytest.raises(DataError, match=r'no metadata\.yaml and 2 files .*ros2 bag reindex'):
        open_dataset(path, 'train')
    (path / 'metadata.yaml').write_text('rosbag2_bagfile_information: {}')
    with pytest.raises(DataError, match='cannot read the bag'):
        open_dataset(path, 'train')
