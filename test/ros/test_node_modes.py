"""The node's modes, in this process: transforms, the first CameraInfo, the clock, the gate."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

import rclpy
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from implicit_loc.localizer import Localizer
from implicit_loc_ros.node import LocalizationNode
from implicit_loc_ros.transforms import matrix_from_transform, pose_message

Start = Callable[..., Any]


CAMERA_IN_BASE = TransformStamped(child_frame_id='camera_optical')
CAMERA_IN_BASE.header.frame_id = 'base_link'
CAMERA_IN_BASE.transform.translation.x = 0.3
CAMERA_IN_BASE.transform.rotation.x = -0.5
CAMERA_IN_BASE.transform.rotation.y = 0.5
CAMERA_IN_BASE.transform.rotation.z = -0.5
CAMERA_IN_BASE.transform.rotation.w = 0.5


def send_extrinsic(peer: Any) -> None:
    from tf2_ros import StaticTransformBroadcaster

    peer.extrinsic_broadcaster = StaticTransformBroadcaster(peer.node)
    peer.extrinsic_broadcaster.sendTransform(CAMERA_IN_BASE)
    time.sleep(0.3)


def test_none_publishes_poses_and_no_transform(start: Start) -> None:
    peer = start(tf_mode='none')
    for _ in range(3):
        peer.localize()
    time.sleep(0.2)
    assert not peer.transforms


def test_the_thread_that_localizes_is_the_one_that_warmed_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []

    def recorded(name: str) -> Callable[..., Any]:
        work = getattr(Localizer, name)

        def record(*arguments: Any, **options: Any) -> Any:
            calls.append((name, threading.get_ident()))
            # What takes long must come behind the images.
            assert name != 'warm_up' or options['export'] is False
            return work(*arguments, **options)

        return record

    for name in ('warm_up', 'localize'):
        monkeypatch.setattr(Localizer, name, recorded(name))
    start().localize()
    configuring, warming = (thread for name, thread in calls if name == 'warm_up')
    assert configuring == threading.get_ident() != warming
    assert calls[-1] == ('localize', warming)


def test_closing_frees_the_cache_of_the_device_even_after_its_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def fail() -> None:
        asked.append(True)
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    monkeypatch.setattr('torch.cuda.empty_cache', fail)
    rclpy.init()
    try:
        node = LocalizationNode()
        node.close()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    assert asked


def test_map_to_base_moves_the_pose_by_the_extrinsic(start: Start, messages: Any) -> None:
    peer = start(tf_mode='map_to_base')
    send_extrinsic(peer)
    pose = peer.localize()
    transform = peer.transform(pose)
    assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'base_link')
    assert transform.transform.rotation == pose.pose.orientation
    # The same image in the same place, seen from the camera.
    map_from_camera = matrix_from_transform(transform.transform) @ matrix_from_transform(
        CAMERA_IN_BASE.transform
    )
    stamp = pose.header.stamp
    with_covariance = peer.wait(
        lambda: [p for p in list(peer.poses_with_covariance) if p.header.stamp == stamp],
        'the pose with covariance',
    )[0]
    assert with_covariance.pose.pose == pose.pose
    camera = pose_message(map_from_camera)
    distance = np.linalg.norm(
        [
            camera.position.x - pose.pose.position.x,
            camera.position.y - pose.pose.position.y,
            camera.position.z - pose.pose.position.z,
        ]
    )
    assert distance == pytest.approx(0.3, abs=1e-6)


def test_a_missing_extrinsic_is_reported_and_heals(start: Start, messages: Any) -> None:
    peer = start(tf_mode='map_to_base', tf_tolerance_s='0.05')
    peer.wait_for_subscriber(peer.images)
    peer.wait_for_subscriber(peer.camera_infos)
    peer.camera_infos.publish(messages.camera_info())
    peer.images.publish(messages.image(peer.next_stamp()))
    peer.wait(lambda: peer.counters().get('refused: transform') == '1', 'the count')
    assert not peer.poses
    assert not peer.transforms
    send_extrinsic(peer)
    peer.localize()


def test_missing_odometry_leaves_poses_without_a_transform(start: Start) -> None:
    peer = start(tf_mode='map_to_odom', tf_tolerance_s='0.05')
    send_extrinsic(peer)
    peer.localize()
    assert int(peer.counters()['poses without a transform']) >= 1
    assert not [t for t in peer.transforms if t.header.frame_id == 'map']


def test_the_first_image_waits_for_its_camera_info(start: Start, messages: Any) -> None:
    peer = start()
    peer.wait_for_subscriber(peer.images)
    peer.wait_for_subscriber(peer.camera_infos)
    peer.images.publish(messages.image(peer.next_stamp()))
    time.sleep(0.3)
    assert not peer.poses
    peer.camera_infos.publish(messages.camera_info())
    peer.wait(lambda: peer.poses, 'the pose of the first image')


def test_images_without_any_camera_info_are_counted(start: Start, messages: Any) -> None:
    peer = start()
    peer.wait_for_subscriber(peer.images)
    for _ in range(3):
        peer.images.publish(messages.image(peer.next_stamp()))
    peer.wait(lambda: peer.counters().get('refused: no CameraInfo') == '2', 'the count')
    assert 'no CameraInfo' in peer.statuses[-1].message
    assert not peer.poses


def test_an_image_without_a_stamp_is_refused_by_name(start: Start, messages: Any) -> None:
    peer = start()
    peer.localize()
    jumps = peer.counters()['jumps back in time']
    peer.images.publish(messages.image(0))
    peer.wait(lambda: peer.counters().get('refused: no stamp') == '1', 'the count')
    # Nor is it a jump back to 1970.
    assert peer.counters()['jumps back in time'] == jumps
    peer.localize()
    assert len(peer.poses) == 2


def test_a_clock_that_jumps_back_starts_anew(start: Start, messages: Any) -> None:
    peer = start(use_sim_time='true')
    clock = peer.node.create_publisher(Clock, '/clock', 10)
    peer.wait_for_subscriber(clock)

    def set_clock(seconds: int) -> None:
        message = Clock()
        message.clock.sec = seconds
        clock.publish(message)
        time.sleep(0.1)

    set_clock(100)
    peer.localize(messages.image(100_000_000_000))
    jumps = int(peer.counters()['jumps back in time'])
    set_clock(90)
    # Less than a second back: only the clock tells that this is no late image.
    peer.localize(messages.image(99_500_000_000))
    assert int(peer.counters()['jumps back in time']) == jumps + 1


def test_the_gate_of_confidence_changes_at_run_time(start: Start, messages: Any) -> None:
    peer = start()
    peer.localize()
    client = peer.node.create_client(SetParameters, 'localization_node/set_parameters')
    assert client.wait_for_service(10)

    def set_gate(value: float) -> bool:
        parameter = Parameter(name='min_confidence')
        parameter.value = ParameterValue(type=3, double_value=value)
        future = client.call_async(SetParameters.Request(parameters=[parameter]))
        answer = peer.wait(lambda: future.done() and future.result(), 'the answer')
        return bool(answer.results[0].successful)

    assert not set_gate(1.5)
    assert set_gate(1.0)
    before = len(peer.poses)
    peer.images.publish(messages.image(peer.next_stamp()))
    peer.wait(lambda: peer.counters().get('refused: confidence') == '1', 'the count')
    assert len(peer.poses) == before


def test_the_solver_is_the_one_that_was_asked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    localize = Localizer.localize

    def record(localizer: Localizer, *arguments: Any) -> Any:
        used.append(localizer.solver)
        return localize(localizer, *arguments)

    monkeypatch.setattr(Localizer, 'localize', record)
    start(solver='weighted').localize()
    assert set(used) == {'weighted'}


@pytest.mark.parametrize('reliable', [True, False])
def test_the_subscription_fits_its_publishers(start: Start, messages: Any, reliable: bool) -> None:
    peer = start()
    peer.in_executor(lambda: peer.node.destroy_publisher(peer.images))
    policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    profile = QoSProfile(depth=10, reliability=policy)
    peer.images = peer.node.create_publisher(Image, 'image', profile)
    expected = 'reliable' if reliable else 'best_effort'
    peer.wait(lambda: peer.counters()['image QoS'] == expected, expected)
    time.sleep(0.3)
    for _ in range(3):
        peer.localize()
    assert peer.counters()['images refused'] == '0'
