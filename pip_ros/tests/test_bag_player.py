"""A recording is played over DDS: everything in it, in order, and at its pace."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from bag_player.__main__ import main
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosbags.rosbag2 import StoragePlugin, Writer
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage


class Listener:
    """Notes what arrives, and when."""

    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self.images: list[tuple[float, Image]] = []
        self.poses: list[PoseStamped] = []
        self.static: list[TFMessage] = []
        self.clock: list[int] = []
        self.executor = executor
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        # Deep enough for a busy machine; best effort, as the bag offers it.
        deep = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(Image, '/image', self._on_image, deep)
        node.create_subscription(PoseStamped, '/truth', self.poses.append, 100)
        node.create_subscription(TFMessage, '/tf_static', self.static.append, latched)
        node.create_subscription(Clock, '/clock', self._on_clock, 100)

    def _on_image(self, message: Image) -> None:
        self.images.append((time.monotonic(), message))

    def _on_clock(self, message: Clock) -> None:
        self.clock.append(Time.from_msg(message.clock).nanoseconds)

    def stamps(self) -> list[int]:
        return [Time.from_msg(image.header.stamp).nanoseconds for _, image in self.images]

    def hear(self, player: subprocess.Popen[str], wait_for_images: int | None = None) -> None:
        """Spin until the player has ended and its last messages are here."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
            if wait_for_images is not None and len(self.images) >= wait_for_images:
                return
            if player.poll() is not None:
                break
        for _ in range(20):
            self.executor.spin_once(timeout_sec=0.01)


@pytest.fixture
def listener(node: Node, executor: SingleThreadedExecutor) -> Listener:
    return Listener(node, executor)


def start(bag: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-m', 'bag_player', str(bag), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def play() -> Iterator[object]:
    """Starts players and ends those that still run."""
    started: list[subprocess.Popen[str]] = []

    def run(bag: Path, *options: str) -> subprocess.Popen[str]:
        started.append(start(bag, '--wait-for-subscribers', *options))
        return started[-1]

    yield run
    for player in started:
        if player.poll() is None:
            player.kill()
        player.communicate()


@pytest.mark.parametrize('rate', [1.0, 2.0])
def test_whole_bag_arrives_in_real_time(bag, rate: float, listener: Listener, play):
    player = play(bag.path, '--rate', str(rate))
    listener.hear(player)
    assert player.returncode == 0
    assert tuple(listener.stamps()) == bag.stamps
    assert len(listener.poses) == len(bag.stamps)
    assert bytes(listener.images[3][1].data) == bytes(value + 3 for value in bag.pixels)
    assert listener.static[0].transforms[0].child_frame_id == 'lens'
    lasted = listener.images[-1][0] - listener.images[0][0]
    expected = (bag.stamps[-1] - bag.stamps[0]) / 1e9 / rate
    # A busy machine is late, never early.
    assert expected - 0.15 < lasted < expected + 5.0


def test_loop_begins_anew_until_it_is_told_to_stop(bag, listener: Listener, play):
    player = play(bag.path, '--loop', '--rate', '4')
    frames = len(bag.stamps)
    listener.hear(player, wait_for_images=2 * frames + 3)
    assert tuple(listener.stamps()[: 2 * frames]) == bag.stamps + bag.stamps
    player.send_signal(signal.SIGINT)
    output, errors = player.communicate(timeout=60)
    assert player.returncode == 0
    assert 'messages published' in output
    # Fast DDS tells when another process makes the same shared-memory port at the same moment.
    assert [line for line in errors.splitlines() if 'RTPS_' not in line] == []


def test_start_leaves_out_messages_but_not_static_transforms(mcap, listener: Listener, play):
    listener.hear(play(mcap.path, '--start', '0.3', '--rate', '4'))
    assert listener.stamps()[0] == mcap.stamps[0] + 300_000_000
    assert len(listener.static) == 1


def test_only_the_chosen_topics_are_played(mcap, listener: Listener):
    player = start(
        mcap.path, '--topics', '/image', '--rate', '4', '--wait-for-subscribers', '/image'
    )
    listener.hear(player)
    player.communicate()
    assert len(listener.images) == len(mcap.stamps)
    assert listener.poses == []


def test_clock_follows_the_recording(mcap, listener: Listener, play):
    listener.hear(play(mcap.path, '--clock', '100', '--rate', '2'))
    assert listener.clock == sorted(listener.clock)
    assert mcap.stamps[0] <= listener.clock[0] <= listener.clock[-1] <= mcap.stamps[-1]
    assert len(listener.clock) == pytest.approx(26, abs=4)


def test_restamped_messages_carry_the_time_of_playing(mcap, listener: Listener, play):
    begin = time.time_ns()
    listener.hear(play(mcap.path, '--restamp'))
    stamps = listener.stamps()
    assert begin < stamps[0] < stamps[-1] < time.time_ns()
    assert np.ptp(np.diff(stamps)) <= 2
    assert stamps == [Time.from_msg(pose.header.stamp).nanoseconds for pose in listener.poses]
    static = Time.from_msg(listener.static[0].transforms[0].header.stamp).nanoseconds
    assert static == stamps[0]
    assert bytes(listener.images[0][1].data) == mcap.pixels


def test_publishers_offer_the_recorded_quality_of_service(mcap, listener: Listener, play):
    del listener
    watcher_context = rclpy.Context()
    rclpy.init(context=watcher_context)
    watcher = rclpy.create_node('watcher', context=watcher_context)
    play(mcap.path, '--loop')
    wanted = {
        '/image': (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE),
        '/truth': (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE),
        '/tf_static': (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
    }
    for topic, policies in wanted.items():
        deadline = time.monotonic() + 60
        while not (found := watcher.get_publishers_info_by_topic(topic)):
            assert time.monotonic() < deadline, topic
            time.sleep(0.02)
        offered = found[0].qos_profile
        assert (offered.reliability, offered.durability) == policies
    watcher.destroy_node()
    watcher_context.try_shutdown()


def damaged(bag: Path, target: Path) -> Path:
    """Copy the storage file alone, cut in half."""
    source = next(bag.glob('*.mcap'))
    cut = target / 'cut.mcap'
    cut.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return cut


def test_single_storage_file_is_a_bag_too(mcap, listener: Listener, play):
    listener.hear(play(next(mcap.path.glob('*.mcap')), '--rate', '4'))
    assert len(listener.images) == len(mcap.stamps)


def changed(bag: Path, target: Path, metadata: str | None, files: int = 1) -> Path:
    """Copy a bag with other metadata, or none, and its storage file so many times."""
    target.mkdir()
    source = next(file for file in bag.iterdir() if file.suffix in ('.mcap', '.db3'))
    for number in range(files):
        shutil.copy(source, target / f'room_{number}{source.suffix}')
    if metadata is not None:
        (target / 'metadata.yaml').write_text(metadata)
    return target


def test_bag_of_a_recorder_that_was_killed_is_played(
    bag, tmp_path: Path, listener: Listener, play
):
    """It has no metadata yet, but its one storage file is whole."""
    listener.hear(play(changed(bag.path, tmp_path / 'killed', None), '--rate', '4'))
    assert tuple(listener.stamps()) == bag.stamps


def test_encodings_that_rosbags_does_not_know_are_named(
    mcap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    storage = next(mcap.path.glob('*.mcap')).read_bytes()
    other = tmp_path / 'other.mcap'
    other.write_bytes(storage.replace(b'ros2msg', b'strange'))
    assert main([str(other)]) == 1
    assert "it uses 'strange', which rosbags does not know" in capsys.readouterr().err


def test_known_errors_are_one_line(mcap, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nothing = tmp_path / 'nothing'
    with Writer(nothing, version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.mcap').write_text('no bag')
    (tmp_path / 'text.db3').write_text('no bag')
    for arguments, reason in (
        ([str(tmp_path / 'missing')], 'no rosbag2 recording'),
        ([str(tmp_path / 'empty')], 'no rosbag2 recording'),
        ([str(tmp_path / 'text.mcap')], 'cannot be read'),
        ([str(tmp_path / 'text.db3')], 'cannot be read'),
        ([str(damaged(mcap.path, tmp_path))], 'ros2 bag reindex'),
        ([str(changed(mcap.path, tmp_path / 'no_yaml', 'a: ['))], 'while parsing'),
        ([str(changed(mcap.path, tmp_path / 'no_metadata', ''))], 'Invalid bag metadata'),
        ([str(changed(mcap.path, tmp_path / 'two', None, files=2))], 'the order of its 2 files'),
        ([str(nothing)], 'holds no message'),
        ([str(mcap.path), '--topics', '/nothing'], '/nothing is not in'),
        ([str(mcap.path), '--start', '9'], 'ends after 0.500 s'),
        ([str(mcap.path), '--wait-for-subscribers', '--patience', '0.1'], 'nobody subscribed to'),
    ):
        assert main(arguments) == 1, arguments
        errors = capsys.readouterr().err
        assert reason in errors
        assert errors.count('\n') == 1


@pytest.mark.parametrize(
    'option', ['--rate=0', '--rate=-1', '--rate=nan', '--start=-2', '--clock=x']
)
def test_numbers_that_make_no_sense_are_refused(option: str):
    with pytest.raises(SystemExit):
        main(['bag', option])
