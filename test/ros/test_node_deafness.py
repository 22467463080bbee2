"""The node's process stands still and loses its shared-memory ports: it starts anew by itself."""

import os
import re
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

NAMESPACE = '/deafness'
STOPPED_S = 2.5
# The command of the node, but for the minute in which it does not start anew.
PROGRAM = """
import sys
from implicit_loc_ros import deafness, localization_node
deafness.SHORTEST_LIFE_S = 0.0
sys.exit(localization_node.main())
"""


def start_camera() -> 'subprocess.Popen[bytes]':
    program = Path(__file__).with_name('camera_process.py')
    return subprocess.Popen([sys.executable, str(program), NAMESPACE, '10'])


@pytest.fixture
def world(tiny_checkpoint: Path, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A node that answers a camera; whoever else knew its ports could make it listen anew."""
    log = tmp_path / 'node.log'
    node = start_node(
        log, NAMESPACE, ('-c', PROGRAM), checkpoint=str(tiny_checkpoint), tf_mode='map_to_base'
    )
    world = SimpleNamespace(node=node, log=log, camera=start_camera())
    try:
        yield world
    finally:
        for process in (world.camera, node):
            process.kill()
            process.wait()


def own_ports(pid: int) -> list[Path]:
    """The shared-memory ports that a process listens to."""
    links = [os.path.realpath(link) for link in Path(f'/proc/{pid}/fd').iterdir()]
    return [Path(file.removesuffix('_el')) for file in links if re.search(r'_port\d+_el$', file)]


def stop(world: Any, meanwhile: str = ':') -> None:
    """Stop the node's process, run a command of the shell, and let the process go on."""
    pid = world.node.pid
    script = f'kill -STOP {pid}; {meanwhile}; sleep {STOPPED_S}; kill -CONT {pid}'
    subprocess.run(['sh', '-c', script], check=True, timeout=60)


def wait_for_line(world: Any, text: str, count: int) -> None:
    """Until the node's log has a text so often."""
    deadline = time.monotonic() + 90
    while world.log.read_text().count(text) < count:
        assert world.node.poll() is None, world.log.read_text()
        assert time.monotonic() < deadline, world.log.read_text()
        time.sleep(0.1)


def test_a_node_that_nobody_reaches_answers_again_as_the_same_process(world: Any) -> None:
    wait_for_line(world, 'first pose', 1)
    # An ordinary standstill is no reason.
    stop(world)
    wait_for_line(world, 'stood still for', 1)
    time.sleep(3)
    assert 'starting anew' not in world.log.read_text()
    ports = own_ports(world.node.pid)
    if not ports:
        pytest.skip('the middleware has no shared-memory ports')

    # As when the next participant took them for broken: who comes then makes others.
    world.camera.kill()
    world.camera.wait()
    stop(world, f'rm {" ".join(map(str, ports))}')
    world.camera = start_camera()
    wait_for_line(world, 'starting anew', 1)
    wait_for_line(world, 'first pose', 2)
    text = world.log.read_text()
    assert text.count('starting anew') == 1
    assert 'Fast DDS has lost' in text
    assert 'Traceback' not in text
    # A lock of the program before would have kept a port from this one.
    assert all(port.exists() for port in own_ports(world.node.pid))
    world.node.send_signal(signal.SIGINT)
    assert world.node.wait(30) == 0
