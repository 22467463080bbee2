"""The bag reader: bags of both storages, with every kind of image and pose."""

import logging
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_messages import (
    HEIGHT,
    NO_TURN,
    OPTICAL,
    OPTICAL_TURN,
    POSES,
    START_NS,
    WIDTH,
    compressed,
    header,
    image,
    image_stamps,
    images,
    info,
    make,
    poses,
    tf,
    transform,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin

from implicit_loc_trainer.datasets import DataError, Sample, open_dataset


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag of messages, and options beside it; gives what to open."""
    return partial(write_bag, tmp_path)


def assert_first_frame_is_known(sample: Sample) -> None:
    """At (1, 2, 3), looking along the world's x axis with z up."""
    world = np.array([[3, 2, 3, 1], [3, 1.5, 3, 1], [3, 2, 2.5, 1]], np.float64)
    points = (np.linalg.inv(sample.world_from_camera) @ world.T).T[:, :3]
    expected = [(31, 23), (31 + 50 / 4, 23), (31, 23 + 50 / 4)]
    np.testing.assert_allclose(sample.camera.project(points), expected, atol=1e-5)


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_bag_is_read_by_the_types_of_its_topics(
    write: Callable[..., Path], storage: StoragePlugin
) -> None:
    path = write([*images(), info(), *poses()], storage)
    train, test = open_dataset(path, 'train'), open_dataset(path, 'test')
    assert [sample.name for sample in test] == ['000004', '000009']
    assert [sample.name for sample in train[:3]] == ['000000', '000001', '000002']
    assert_first_frame_is_known(train[0])
    assert train[1].timestamp == pytest.approx(0.1)
    np.testing.assert_allclose(train[1].world_from_camera[:3, 3], (1, 2.1, 3))
    # In any order: messages are found again by their place.
    for sample in (test[1], train[0], test[0]):
        np.testing.assert_array_equal(sample.load_image()[5, 7], (20 * int(sample.name), 0, 0))


def test_one_storage_file_is_a_bag_too(write: Callable[..., Path]) -> None:
    path = write([*images(), info(), *poses()])
    (file,) = path.glob('*.mcap')
    assert len(open_dataset(file, 'train')) == 8


def test_images_received_at_one_time_stay_apart(write: Callable[..., Path]) -> None:
    pair = [image(START_NS, value=10), image(START_NS, value=20)]
    path = write(
        [*pair, info(), *poses()], keyframe_distance_m=0, split={'blocks': 9, 'test_every': 9}
    )
    first, second = open_dataset(path, 'train')
    assert (first.load_image()[0, 0, 0], second.load_image()[0, 0, 0]) == (10, 20)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_compressed_images(write: Callable[..., Path], suffix: str) -> None:
    messages = [compressed(stamp, suffix, 200) for stamp in image_stamps()]
    sample = open_dataset(write([*messages, info(), *poses()]), 'train')[0]
    red, green, blue = (int(value) for value in sample.load_image()[0, 0])
    assert (red > 190, green < 10, blue < 10) == (True, True, True)


@pytest.mark.parametrize('kind', ['geometry_msgs/PoseWithCovarianceStamped', 'nav_msgs/Odometry'])
def test_poses_of_the_robot_take_the_cameras_place_from_tf(
    write: Callable[..., Path], kind: str
) -> None:
    # The camera looks forward, a metre to the left of base_link and half a metre above it.
    mount = transform(START_NS, 'base_link', 'mount', (0, 1, 0), NO_TURN)
    camera = transform(START_NS, 'mount', OPTICAL, (0, 0, 0.5), OPTICAL_TURN)
    robot = [*images(), info(), *poses(kind, NO_TURN), tf('/tf_static', START_NS, mount, camera)]
    options = {} if kind == 'nav_msgs/Odometry' else {'tracked_frame': 'base_link'}
    first = open_dataset(write(robot, **options), 'train')[0]
    np.testing.assert_allclose(first.world_from_camera[:3, 3], (1, 3, 3.5), atol=1e-9)
    np.testing.assert_allclose(first.world_from_camera[:3, 2], (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(first.world_from_camera[:3, 0], (0, -1, 0), atol=1e-9)


def test_the_cameras_place_from_the_options(write: Callable[..., Path]) -> None:
    place = {'translation': [0, 1, 0.5], 'rotation': list(OPTICAL_TURN)}
    path = write(
        [*images(), info(), *poses(turn=NO_TURN)], pose_topic=POSES, tracked_from_camera=place
    )
    first = open_dataset(path, 'train')[0]
    np.testing.assert_allclose(first.world_from_camera[:3, 3], (1, 3, 3.5), atol=1e-9)
    np.testing.assert_allclose(first.world_from_camera[:3, 2], (1, 0, 0), atol=1e-9)


def test_it_must_be_said_what_a_pose_tracks_where_there_is_a_robot(
    write: Callable[..., Path],
) -> None:
    mount = transform(START_NS, 'base_link', OPTICAL, (0, 0, 0), OPTICAL_TURN)
    path = write([*images(), info(), *poses(), tf('/tf_static', START_NS, mount)])
    with pytest.raises(DataError, match='tracked_frame'):
        open_dataset(path, 'train')


@pytest.mark.parametrize('options', [{}, {'tf': {'world': 'map', 'camera': OPTICAL}}])
def test_a_chain_of_tf(write: Callable[..., Path], options: dict[str, Any]) -> None:
    moving = []
    for i in range(11):
        stamp = START_NS + 100_000_000 * i - 50_000_000
        odom = transform(stamp, 'map', 'odom', (1, 0, 0), NO_TURN)
        base = transform(stamp, 'odom', 'base_link', (0, 2 + 0.1 * i - 0.05, 0), NO_TURN)
        moving += [tf('/tf', stamp, odom), tf('/tf', stamp, base)]
    mount = transform(START_NS, 'base_link', OPTICAL, (0, 0, 3), OPTICAL_TURN)
    path = write([*images(), info(), *moving, tf('/tf_static', START_NS, mount)], **options)
    assert_first_frame_is_known(open_dataset(path, 'train')[0])


def test_depth_and_masks(write: Callable[..., Path], tmp_path: Path) -> None:
    depth = []
    for stamp in image_stamps()[:1]:
        message = make(
            'sensor_msgs/Image',
            header=header(stamp + 5_000_000, OPTICAL),
            height=1,
            width=2,
            encoding='16UC1',
            is_bigendian=0,
            step=4,
            data=np.array([1500, 0], '<u2').view(np.uint8),
        )
        depth.append(('/depth/image', 'sensor_msgs/msg/Image', stamp + 5_000_000, message))
    path = write([*images(), *depth, info(), *poses()], depth_topic='/depth/image')
    (tmp_path / 'masks').mkdir()
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    cv2.imwrite(str(tmp_path / 'masks' / '000001.png'), mask)
    first, second = open_dataset(path, 'train')[:2]
    assert first.load_depth is not None
    np.testing.assert_allclose(first.load_depth(), [[1.5, 0]])
    assert second.load_depth is None
    assert first.load_mask is None
    assert second.load_mask is not None
    assert second.load_mask().all()


def test_keyframes_are_thinned_but_not_those_of_lists(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    halves = {'split': {'blocks': 2, 'test_every': 2}}
    path = write([*images(), info(), *poses()], **halves, keyframe_distance_m=0.29)
    names = [sample.name for split in ('train', 'test') for sample in open_dataset(path, split)]
    assert sorted(names) == ['000000', '000003', '000006', '000009']
    (tmp_path / 'train.txt').write_text('000001\n000002\n')
    assert [sample.name for sample in open_dataset(path, 'train')] == ['000001', '000002']
    assert len(open_dataset(path, 'test')) == 8


def test_images_without_a_pose_are_left_out_and_counted(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write([*images(), info(), *poses()[:4]])
    with caplog.at_level(logging.WARNING):
        names = [sample.name for sample in open_dataset(path, 'train')]
    assert names == ['000000', '000001', '000002']
    assert '7 of 10 images have no pose' in caplog.text


@pytest.mark.parametrize('options', [{}, {'rectified': True}])
def test_rectified_images_take_their_intrinsics_from_p(
    write: Callable[..., Path], options: dict[str, Any]
) -> None:
    name = '/camera/image_raw' if options else '/camera/image_rect_color'
    frames = [(name, *message[1:]) for message in images()]
    distorted = info(distortion=(0.1, 0.01, 0.0, 0.0, 0.0))
    camera = open_dataset(write([*frames, distorted, *poses()], **options), 'train')[0].camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (40, 41, 30, 22)
    assert camera.distortion_model == 'none'


def test_a_calibration_file_replaces_camera_info(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / 'front.yaml').write_text(
        'image_width: 64\nimage_height: 48\ndistortion_model: plumb_bob\n'
        'camera_matrix: {rows: 3, cols: 3, data: [60, 0, 31, 0, 61, 23, 0, 0, 1]}\n'
        'distortion_coefficients: {rows: 1, cols: 4, data: [0.1, 0, 0, 0]}\n'
    )
    path = write([*images(), *poses()], camera='front.yaml')
    camera = open_dataset(path, 'train')[0].camera
    assert (camera.fx, camera.fy) == (60, 61)
    assert camera.distortion == (0.1, 0, 0, 0)


def test_memory_does_not_grow_with_the_bag(tmp_path: Path) -> None:
    peaks, sizes = [], []
    # The first bag fills what rosbags keeps of message types.
    for count in (20, 20, 320):
        folder = tmp_path / str(len(peaks))
        folder.mkdir()
        frames = [image(stamp) for stamp in image_stamps(count)]
        path = write_bag(folder, [*frames, info(), *poses()], StoragePlugin.SQLITE3)
        tracemalloc.start()
        open_dataset(path, 'train')
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(sum(file.stat().st_size for file in path.iterdir()))
    assert peaks[2] - peaks[1] < 0.2 * (sizes[2] - sizes[1])
