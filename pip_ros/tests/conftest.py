"""Fixtures of the stand-ins' tests."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore


@pytest.fixture
def executor() -> Iterator[SingleThreadedExecutor]:
    """An executor in a context of its own, with one node."""
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = SingleThreadedExecutor(context=context)
    yield executor
    executor.shutdown()
    context.try_shutdown()


@pytest.fixture
def node(executor: SingleThreadedExecutor) -> Iterator[Node]:
    """A node that the executor spins."""
    node = rclpy.create_node('test_node', context=executor.context)
    executor.add_node(node)
    yield node
    node.destroy_node()


START_NS = 1_700_000_000 * 10**9
STEP_NS = 50_000_000
FRAMES = 11
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8)


@dataclass(frozen=True)
class RecordedRoom:
    """A bag of half a second: at each stamp a 6 x 4 rgb8 image and a pose.

    Attributes:
        path: folder of the bag.
        stamps: nanoseconds, 50 ms apart; a static transform is at the first.
        pixels: of the first image; the image at stamp i has i added to each byte.
    """

    path: Path
    stamps: tuple[int, ...] = tuple(START_NS + index * STEP_NS for index in range(FRAMES))
    pixels: bytes = PIXELS.tobytes()


def profile(reliability: QosReliability, durability: QosDurability) -> Qos:
    """Return what a publisher offered."""
    never = QosTime(0, 0)
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        reliability,
        durability,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        avoid_ros_namespace_conventions=False,
    )


def write_bag(path: Path, storage: StoragePlugin) -> RecordedRoom:
    """Write the bag of RecordedRoom."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    header_type, time_type = types['std_msgs/msg/Header'], types['builtin_interfaces/msg/Time']
    vector_type, turn_type = (
        types['geometry_msgs/msg/Vector3'],
        types['geometry_msgs/msg/Quaternion'],
    )
    point = types['geometry_msgs/msg/Point'](x=1.0, y=2.0, z=3.0)
    turn = turn_type(x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types['geometry_msgs/msg/Pose'](position=point, orientation=turn)
    motion = types['geometry_msgs/msg/Transform'](
        translation=vector_type(x=0.0, y=0.0, z=1.0), rotation=turn
    )
    sensor = profile(QosReliability.BEST_EFFORT, QosDurability.VOLATILE)
    latched = profile(QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL)

    def header(stamp: int) -> object:
        seconds, nanoseconds = divmod(stamp, 10**9)
        return header_type(stamp=time_type(sec=seconds, nanosec=nanoseconds), frame_id='camera')

    with Writer(path, version=9, storage_plugin=storage) as writer:

        def connect(topic: str, name: str, *profiles: Qos) -> object:
            return writer.add_connection(
                topic, name, typestore=store, offered_qos_profiles=profiles
            )

        def write(connection: object, stamp: int, message: object, name: str) -> None:
            writer.write(connection, stamp, store.serialize_cdr(message, name))

        image_name, pose_name = 'sensor_msgs/msg/Image', 'geometry_msgs/msg/PoseStamped'
        tf_name, stamped_name = 'tf2_msgs/msg/TFMessage', 'geometry_msgs/msg/TransformStamped'
        images = connect('/image', image_name, sensor)
        poses = connect('/truth', pose_name)
        static = connect('/tf_static', tf_name, latched)
        stamped = types[stamped_name](
            header=header(START_NS), child_frame_id='lens', transform=motion
        )
        write(static, START_NS, types[tf_name](transforms=[stamped]), tf_name)
        for index in range(FRAMES):
            stamp = START_NS + index * STEP_NS
            image = types[image_name](
                header=header(stamp),
                height=4,
                width=6,
                encoding='rgb8',
                is_bigendian=0,
                step=18,
                data=PIXELS + index,
            )
            write(images, stamp, image, image_name)
            write(poses, stamp, types[pose_name](header=header(stamp), pose=pose), pose_name)
    return RecordedRoom(path)


@pytest.fixture(scope='module', params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RecordedRoom:
    """A bag of each kind of storage."""
    return write_bag(tmp_path_factory.mktemp('bags') / 'room', request.param)


@pytest.fixture(scope='module')
def mcap(tmp_path_factory: pytest.TempPathFactory) -> RecordedRoom:
    """One bag, for what does not depend on the storage."""
    return write_bag(tmp_path_factory.mktemp('bags') / 'room', StoragePlugin.MCAP)
