"""What the tests of the node share: a checkpoint, messages, and a peer that speaks DDS."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope='session')
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was never trained, for images of 64x48 pixels."""
    import torch

    from implicit_loc.camera import Camera
    from implicit_loc.checkpoint import CheckpointDescription, save_checkpoint
    from implicit_loc.network import NetworkConfig, SceneNetwork

    torch.manual_seed(0)
    config = NetworkConfig()
    description = CheckpointDescription(
        network=config,
        input_height=HEIGHT,
        training_camera=Camera(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5),
        dataset='untrained',
        dataset_fingerprint='',
        extent=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )
    path = tmp_path_factory.mktemp('checkpoint') / 'tiny.safetensors'
    save_checkpoint(path, SceneNetwork(config).eval(), description)
    return path


def make_image(stamp: int = 1_000_000_000, encoding: str = 'rgb8', **changes: Any) -> Any:
    """A 64x48 Image of noise, stamped in nanoseconds; changes overwrite its fields."""
    import array

    from sensor_msgs.msg import Image

    step = WIDTH * 3
    pixels = np.random.default_rng(0).integers(0, 256, HEIGHT * step, np.uint8)
    data = array.array('B')
    data.frombytes(pixels.tobytes())
    message = Image(width=WIDTH, height=HEIGHT, encoding=encoding, step=step)
    message.data = data
    for name, value in changes.items():
        setattr(message, name, value)
    return stamped(message, stamp)


def make_camera_info(stamp: int = 1_000_000_000, **changes: Any) -> Any:
    """The CameraInfo of `make_image`."""
    from sensor_msgs.msg import CameraInfo

    message = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model='plumb_bob')
    message.k = np.array([60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0])
    message.p = np.array([60.0, 0.0, 31.5, 0.0, 0.0, 60.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0])
    message.d = [0.0] * 5
    for name, value in changes.items():
        setattr(message, name, value)
    return stamped(message, stamp)


def stamped(message: Any, stamp: int, frame: str = 'camera_optical') -> Any:
    """The message with its header filled in."""
    message.header.frame_id = frame
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    return message


@pytest.fixture(scope='session')
def messages() -> SimpleNamespace:
    """Builders of messages."""
    return SimpleNamespace(image=make_image, camera_info=make_camera_info, stamped=stamped)


def spin(executor: Any) -> None:
    """Until its context shuts down, which makes whatever runs at the moment fail."""
    try:
        executor.spin()
    except Exception:
        if executor.context.ok():
            raise


class Peer:
    """Everything around one localization node: camera, odometry and listeners.

    Args:
        namespace: of the node under test.
    """

    def __init__(self, namespace: str) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image
        from tf2_msgs.msg import TFMessage

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.namespace = namespace
        self.node = rclpy.create_node('peer', namespace=namespace, context=self.context)
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        publish, subscribe = self.node.create_publisher, self.node.create_subscription
        self.images = publish(Image, 'image', reliable)
        self.compressed_images = publish(CompressedImage, 'image/compressed', reliable)
        self.camera_infos = publish(CameraInfo, 'camera_info', reliable)
        self.poses: list[Any] = []
        self.poses_with_covariance: list[Any] = []
        self.transforms: list[Any] = []
        self.statuses: list[Any] = []
        topic = 'localization_node/pose'
        answers = subscribe(PoseStamped, topic, self.poses.append, reliable)
        self._is_answered = answers.get_publisher_count
        subscribe(
            PoseWithCovarianceStamped,
            f'{topic}_with_covariance',
            self.poses_with_covariance.append,
            reliable,
        )
        subscribe(TFMessage, '/tf', lambda m: self.transforms.extend(m.transforms), 100)
        subscribe(DiagnosticArray, '/diagnostics', self._take_diagnostics, 100)
        self._stamp = 10_000_000_000
        self._heard: set[str] = set()
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=spin, args=(self._executor,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the network."""
        self.context.try_shutdown()
        self._thread.join(5)
        # Until then its latched transforms would still be served.
        self.node.destroy_node()

    def in_executor(self, action: Callable[[], object]) -> None:
        """Act in the thread that receives; rclpy fails if another destroys what it waits for."""
        task = self._executor.create_task(action)
        self.wait(task.done, 'the executor')

    def _take_diagnostics(self, message: Any) -> None:
        wanted = f'{self.namespace}/localization_node'.lstrip('/')
        self.statuses.extend(s for s in message.status if s.name.startswith(wanted))

    def next_stamp(self) -> int:
        """A stamp 100 ms after the one before, nanoseconds."""
        self._stamp += 100_000_000
        return self._stamp

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> Any:
        """Until the condition holds; its value."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f'timed out waiting for {what}')

    def wait_for_subscriber(self, publisher: Any) -> None:
        """Until the node listens."""
        name = publisher.topic_name
        fitting = publisher in (self.images, self.compressed_images, self.camera_infos)

        def listens() -> Any:
            found = self.node.get_subscriptions_info_by_topic(name)
            asked = [info.qos_profile.reliability for info in found]
            if not fitting:
                return bool(asked)
            # One subscription replaces another until it fits; what comes just then may be lost.
            offers = self.node.get_publishers_info_by_topic(name)
            matched = publisher.get_subscription_count() == 1 and self._is_answered()
            return matched and asked == [offers[0].qos_profile.reliability]

        if name in self._heard and listens():
            return
        self.wait(listens, f'a subscriber of {name}')
        # The subscriber learns of its publisher on its own and drops what comes before that.
        time.sleep(0.3)
        self._heard.add(name)

    def localize(self, image: Any = None, camera_info: Any = None, publisher: Any = None) -> Any:
        """Send one image, by default a good one; the pose with its stamp."""
        publisher = publisher or self.images
        image = image or make_image(self.next_stamp())
        self.wait_for_subscriber(publisher)
        self.wait_for_subscriber(self.camera_infos)
        stamp = image.header.stamp
        # On a busy machine the wait for the subscriber can be too short, and the first be lost.
        for patience_s in (30.0, 60.0):
            self.camera_infos.publish(camera_info or make_camera_info())
            # Topics have no order among each other.
            time.sleep(0.1)
            publisher.publish(image)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                if pose := next((p for p in list(self.poses) if p.header.stamp == stamp), None):
                    return pose
                time.sleep(0.02)
        raise AssertionError(f'timed out waiting for the pose of image {stamp}')

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """What a service of the node answers."""
        future = self.ask(kind, name, request)
        return self.wait(lambda: future.done() and future.result(), f'an answer of {name}')

    def ask(self, kind: Any, name: str, request: Any) -> Any:
        """The future answer of a service of the node."""
        client = self.node.create_client(kind, f'localization_node/{name}')
        # On a busy machine the node's imports take long.
        assert client.wait_for_service(180), f'no service {name}'
        # The service learns of its client on its own; an answer before that is lost.
        time.sleep(0.3)
        return client.call_async(request)

    def transform(self, pose: Any) -> Any:
        """The transform with a pose's stamp."""
        stamp = pose.header.stamp
        return self.wait(
            lambda: next((t for t in list(self.transforms) if t.header.stamp == stamp), None),
            f'the transform of {stamp}',
        )

    def counters(self) -> dict[str, str]:
        """The next report on /diagnostics."""
        seen = len(self.statuses)
        self.wait(lambda: len(self.statuses) > seen, 'diagnostics')
        return {value.key: value.value for value in self.statuses[-1].values}


@pytest.fixture(scope='module')
def make_peer() -> Iterator[Callable[[str], Peer]]:
    """Builder of peers, closed at the end of the module."""
    peers: list[Peer] = []

    def build(namespace: str) -> Peer:
        peers.append(Peer(namespace))
        return peers[-1]

    yield build
    for peer in peers:
        if peer.context.ok():
            peer.close()


@pytest.fixture
def start(tiny_checkpoint: Path, make_peer: Any, request: Any) -> Iterator[Callable[..., Any]]:
    """Run an active node with parameters in this process and give its peer."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from implicit_loc_ros.node import LocalizationNode

    cleanups: list[Callable[[], Any]] = []
    namespace = '/' + request.node.name[:40]

    def run(**parameters: str) -> Any:
        # The confidence of a network that was never trained is as it happens.
        values = {'checkpoint': str(tiny_checkpoint), 'device': 'cpu', 'min_confidence': '0.0'}
        # Exporting the network for another runtime takes seconds.
        values |= {'runtime': 'eager', **parameters}
        arguments = ['--ros-args', '-r', f'__ns:={namespace}']
        for name, value in values.items():
            arguments += ['-p', f'{name}:={value}']
        rclpy.init(args=arguments)
        node = LocalizationNode()
        assert node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)

        thread = threading.Thread(target=spin, args=(executor,), daemon=True)
        thread.start()
        cleanups.extend(
            [
                node.close,
                lambda: rclpy.try_shutdown(),
                lambda: thread.join(5),
                lambda: node.destroy_node(),
            ]
        )
        peer = make_peer(namespace)
        cleanups.append(peer.close)
        return peer

    yield run
    for clean_up in cleanups:
        clean_up()
