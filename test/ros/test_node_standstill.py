"""The node's process is stopped and goes on: images that it has missed hold up no newer one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from node_process import start_node

NAMESPACE = '/standstill'
# So long that Fast DDS has lost something: its watchdog gives up a frozen port after two.
STOPPED_S = 2.5
CAMERA_HZ = 20.0
# A busy machine needs a part of it; a heartbeat would come later.
LONGEST_S = 2.0
HEARTBEAT_S = 30
LARGE_IMAGES = Path(__file__).parents[2] / 'config' / 'fastdds_large_images.xml'
# Without its buffers, heartbeats go with the images.
RARE_HEARTBEATS = """<data_writer profile_name="rare_heartbeats" is_default_profile="true">
<times><{0}><sec>{1}</sec></{0}></times></data_writer></profiles>"""
# Fast DDS 2 (Jazzy) and 3 (Kilted).
PROFILES = {
    'FASTRTPS_DEFAULT_PROFILES_FILE': 'heartbeatPeriod',
    'FASTDDS_DEFAULT_PROFILES_FILE': 'heartbeat_period',
}


def start_camera(folder: Path) -> 'subprocess.Popen[bytes]':
    environment = dict(os.environ)
    for variable, tag in PROFILES.items():
        profile = folder / f'{tag}.xml'
        rare = RARE_HEARTBEATS.format(tag, HEARTBEAT_S)
        profile.write_text(LARGE_IMAGES.read_text().replace('</profiles>', rare))
        environment[variable] = str(profile)
    program = Path(__file__).with_name('camera_process.py')
    command = [sys.executable, str(program), NAMESPACE, str(CAMERA_HZ)]
    return subprocess.Popen(command, env=environment)


@pytest.fixture(scope='module')
def world(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, make_peer: Any
) -> Iterator[SimpleNamespace]:
    """A node that answers a reliable camera."""
    folder = tmp_path_factory.mktemp('standstill')
    log = folder / 'node.log'
    node = start_node(log, NAMESPACE, checkpoint=str(tiny_checkpoint), tf_mode='map_to_base')
    camera = start_camera(folder)
    world = SimpleNamespace(node=node, log=log, peer=make_peer(NAMESPACE))
    try:
        world.peer.wait(lambda: world.peer.poses, 'the first pose', timeout_s=180)
        yield world
    finally:
        for process in (camera, node):
            process.kill()
            process.wait()


def stop(world: Any, seconds: float) -> float:
    """Stop the node's process and let it go on; when the first pose of an image of then came."""
    world.node.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    world.node.send_signal(signal.SIGCONT)
    begin, begin_stamp = time.monotonic(), time.time()

    def answered() -> bool:
        stamp = world.peer.poses[-1].header.stamp
        return bool(stamp.sec + 1e-9 * stamp.nanosec > begin_stamp)

    world.peer.wait(answered, 'a pose after the stop')
    return time.monotonic() - begin


def told(world: Any) -> int:
    """How many standstills the log tells of."""
    return int(world.log.read_text().count('the process stood still for'))


def test_who_runs_does_not_subscribe_anew(world: Any) -> None:
    poses = len(world.peer.poses)
    world.peer.wait(lambda: len(world.peer.poses) > poses + 40, 'forty poses')
    # As a busy machine does it.
    for _ in range(5):
        stop(world, 0.2)
    assert world.peer.counters()['standstills'] == '0'
    assert told(world) == 0


def test_after_a_stop_a_pose_comes_before_what_was_missed_is_sent_again(world: Any) -> None:
    before = int(world.peer.counters()['standstills'])
    for count in (1, 2, 3):
        assert stop(world, STOPPED_S) < LONGEST_S
        assert int(world.peer.counters()['standstills']) == told(world) == before + count
    assert 'Traceback' not in world.log.read_text()
