"""The node as real processes, over DDS."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('lifecycle_msgs', reason='lifecycle_msgs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_process import start_node
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage


def end(process: 'subprocess.Popen[bytes]', number: int) -> int:
    process.send_signal(number)
    return process.wait(timeout=60)


@pytest.fixture(scope='module')
def world(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, make_peer: Any
) -> Iterator[SimpleNamespace]:
    """All processes, started together so that their slow imports overlap."""
    folder = tmp_path_factory.mktemp('logs')
    checkpoint = str(tiny_checkpoint)
    world = SimpleNamespace(
        folder=folder,
        managed=start_node(
            folder / 'managed.log', '/managed', checkpoint=checkpoint, autostart='false'
        ),
        robot=start_node(
            folder / 'robot.log',
            '/robot',
            checkpoint=checkpoint,
            tf_mode='map_to_odom',
            image_transport='compressed',
        ),
    )
    world.managed_peer, world.robot_peer = make_peer('/managed'), make_peer('/robot')
    yield world
    for process in (world.managed, world.robot):
        if process.poll() is None:
            process.kill()
            process.wait()


def change(peer: Any, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call(ChangeState, 'change_state', request).success)


def state(peer: Any) -> str:
    return str(peer.call(GetState, 'get_state', GetState.Request()).current_state.label)


def test_an_unconfigured_node_waits_for_its_manager(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    assert state(peer) == 'unconfigured'
    assert peer.images.get_subscription_count() == 0


def test_an_inactive_node_publishes_nothing(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert state(peer) == 'inactive'
    peer.camera_infos.publish(messages.camera_info())
    peer.images.publish(messages.image(peer.next_stamp()))
    time.sleep(1.2)
    assert not peer.poses
    assert not peer.transforms
    assert not peer.statuses


def test_an_active_node_answers_with_the_stamp_of_the_image(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    for _ in range(5):
        pose = peer.localize()
        assert pose.header.frame_id == 'map'
        q = pose.pose.orientation
        assert np.linalg.norm([q.x, q.y, q.z, q.w]) == pytest.approx(1.0, abs=1e-9)


def test_every_pose_has_its_covariance_and_transform(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    pose = peer.localize()
    transform = peer.transform(pose)
    assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'localized_camera')
    assert transform.transform.rotation == pose.pose.orientation
    assert transform.transform.translation.x == pose.pose.position.x
    stamp = pose.header.stamp
    found = peer.wait(
        lambda: [p for p in list(peer.poses_with_covariance) if p.header.stamp == stamp],
        'the pose with covariance',
    )
    covariance = np.reshape(found[0].pose.covariance, (6, 6))
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert found[0].pose.pose == pose.pose


def test_bad_images_are_counted_and_the_node_lives_on(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    peer.localize()
    before = peer.counters()
    bad = [
        {'encoding': 'rgb99'},
        {'height': 47},
        {'step': 10},
        {'width': 0, 'height': 0, 'step': 0, 'data': []},
        {'width': 32, 'step': 192},
    ]
    for changes in bad:
        peer.images.publish(messages.image(peer.next_stamp(), **changes))
        time.sleep(0.2)
    peer.localize()
    after = peer.counters()

    def grown(key: str) -> int:
        return int(after.get(key, 0)) - int(before.get(key, 0))

    # A busy machine may let one overtake another.
    assert grown('refused: image') + grown('images overtaken by newer ones') == len(bad)
    assert grown('refused: image') >= 1
    assert grown('poses published') == 1


def test_bad_camera_infos_are_counted_and_the_node_lives_on(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    peer.localize()
    before = peer.counters()
    bad = [
        {'k': np.zeros(9)},
        {'k': np.full(9, np.nan)},
        {'distortion_model': 'kaleidoscope', 'd': [0.1]},
        {'width': 0, 'height': 0},
        {'d': [0.1, 0.2]},
    ]
    for changes in bad:
        peer.camera_infos.publish(messages.camera_info(**changes))
        time.sleep(0.1)
        peer.images.publish(messages.image(peer.next_stamp()))
        time.sleep(0.2)
    peer.localize()
    after = peer.counters()
    assert int(after['refused: camera']) - int(before.get('refused: camera', 0)) >= 1
    assert int(after['poses published']) - int(before['poses published']) == 1
    assert after['last error']


def test_a_bag_that_loops_does_not_wedge_the_node(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    last = peer.localize(messages.image(100_000_000_000))
    first = peer.localize(messages.image(50_000_000_000))
    assert first.header.stamp.sec < last.header.stamp.sec
    peer.localize(messages.image(50_100_000_000))
    assert int(peer.counters()['jumps back in time']) >= 1
    peer._stamp = 200_000_000_000


def test_a_late_image_gets_no_pose(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    pose = peer.localize()
    stamp = pose.header.stamp.sec * 1_000_000_000 + pose.header.stamp.nanosec
    before = len(peer.poses)
    peer.images.publish(messages.image(stamp))
    peer.images.publish(messages.image(stamp - 10_000_000))
    peer.wait(lambda: int(peer.counters().get('refused: stale', 0)) >= 2, 'the count')
    assert len(peer.poses) == before


def test_a_transition_that_the_state_lacks_is_survived(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    assert state(peer) == 'active'
    client = peer.node.create_client(ChangeState, 'localization_node/change_state')
    assert client.wait_for_service(60)
    wrong = Transition(id=Transition.TRANSITION_CONFIGURE)
    client.call_async(ChangeState.Request(transition=wrong))
    time.sleep(0.5)
    assert state(peer) == 'active'
    peer.localize()


def test_a_deactivated_node_is_silent_and_starts_again(world: Any, messages: Any) -> None:
    peer = world.managed_peer
    assert change(peer, Transition.TRANSITION_DEACTIVATE)
    peer.wait(lambda: peer.images.get_subscription_count() == 0, 'the node to unsubscribe')
    assert change(peer, Transition.TRANSITION_CLEANUP)
    assert state(peer) == 'unconfigured'
    assert change(peer, Transition.TRANSITION_CONFIGURE)
    assert change(peer, Transition.TRANSITION_ACTIVATE)
    peer.localize()


def test_sigint_ends_it_cleanly(world: Any) -> None:
    assert end(world.managed, signal.SIGINT) == 0
    log = (world.folder / 'managed.log').read_text()
    assert 'Traceback' not in log
    assert "of 'untrained'" in log
    # Of both activations at most: each tells it once, with the first report that has a pose.
    assert log.count('s after the first image') in (1, 2)


def static_transform(peer: Any) -> Any:
    """The camera is 0.3 m before and 0.2 m above the base, looking forward."""
    message = TransformStamped(child_frame_id='camera_optical')
    message.header.frame_id = 'base_link'
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.z = 0.3, 0.2
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    return message


def test_map_to_odom_publishes_the_correction_of_the_odometry(world: Any, messages: Any) -> None:
    from tf2_ros import StaticTransformBroadcaster

    peer = world.robot_peer
    broadcaster = StaticTransformBroadcaster(peer.node)
    broadcaster.sendTransform(static_transform(peer))
    odometry = peer.node.create_publisher(TFMessage, '/tf', 100)
    peer.wait(lambda: odometry.get_subscription_count() >= 2, 'the node to hear TF')
    stamp = peer.next_stamp()
    for offset in range(-5, 6):
        moved = TransformStamped(child_frame_id='base_link')
        messages.stamped(moved, stamp + offset * 20_000_000, 'odom')
        moved.transform.translation.x = 5.0
        odometry.publish(TFMessage(transforms=[moved]))
    image = CompressedImage(format='jpeg')
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    image.data = cv2.imencode('.jpg', pixels)[1].tobytes()
    time.sleep(0.5)
    pose = peer.localize(
        messages.stamped(image, stamp), messages.camera_info(), peer.compressed_images
    )
    transform = peer.wait(
        lambda: [t for t in list(peer.transforms) if t.child_frame_id == 'odom'], 'map -> odom'
    )[0]
    assert transform.header.frame_id == 'map'
    assert transform.header.stamp == pose.header.stamp
    offset = np.array(
        [
            transform.transform.translation.x - pose.pose.position.x,
            transform.transform.translation.y - pose.pose.position.y,
            transform.transform.translation.z - pose.pose.position.z,
        ]
    )
    # The base stands 5 m from the origin of the odometry.
    assert np.linalg.norm(offset) == pytest.approx(5.0, abs=1e-6)


def test_sigterm_ends_it_cleanly(world: Any) -> None:
    assert end(world.robot, signal.SIGTERM) == 0
    assert 'Traceback' not in (world.folder / 'robot.log').read_text()
