"""One run: a camera publishes at a rate, the node answers, and all of it is noted."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from replay.child_process import Child, running
from replay.collector import Arrival, Collector
from replay.errors import ReplayError
from replay.playback import DIAGNOSTICS_TOPIC, NODE_NAME, POSE_TOPIC

from bench import camera as camera_program
from bench.memory import MemoryWatch
from implicit_loc_trainer.ros_messages import DIAGNOSTICS_TYPE, POSE_TYPE, parsed

TOPICS = {POSE_TOPIC: POSE_TYPE, DIAGNOSTICS_TOPIC: DIAGNOSTICS_TYPE}
# What the node makes only for those who look.
VIEWS = {
    f'/{NODE_NAME}/debug_image': 'sensor_msgs/msg/Image',
    f'/{NODE_NAME}/points': 'sensor_msgs/msg/PointCloud2',
    f'/{NODE_NAME}/path': 'nav_msgs/msg/Path',
}

_POLLING_S = 0.05
# The node reports once a second: after two reports, all that came before is counted.
_REPORTS = 2
_REPORT_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Run:
    """What was noted of one run.

    Attributes:
        transport: a key of bench.camera.TOPICS.
        rate_hz: that was asked for.
        published: images.
        seconds: from the first image to the last.
        poses: as they arrived.
        reports: when the node's diagnostics arrived, nanoseconds since the epoch, and their
            values; the one before the run first.
        memory: of the node.
        watched: whether somebody subscribed to VIEWS.
    """

    transport: str
    rate_hz: float
    published: int
    seconds: float
    poses: list[Arrival]
    reports: list[tuple[int, dict[str, str]]]
    memory: MemoryWatch
    watched: bool = False


def run(
    collector: Collector,
    node: Child,
    shots: Path,
    transport: str,
    rate_hz: float,
    frames: int,
    log: Path,
    watched: bool = False,
) -> Run:
    """Let a camera publish to a node that is active.

    Args:
        collector: of TOPICS.
        node: the process of the node.
        shots: folder of the images.
        transport: a key of bench.camera.TOPICS.
        rate_hz: images per second.
        frames: how many.
        log: file for the output of the camera.
        watched: whether to subscribe to VIEWS.

    Raises:
        ReplayError: a process ended, or the node reports nothing.
    """
    _await_reports(collector, node)
    start = len(collector.arrivals)
    before = _reports(collector.arrivals)[-1]
    options = {'transport': transport, 'rate': rate_hz, 'frames': frames}
    # By its file: it is found without PYTHONPATH, too.
    command = [sys.executable, camera_program.__file__, str(shots)]
    command += [word for name, value in options.items() for word in (f'--{name}', str(value))]
    with (
        collector.looking_at(VIEWS if watched else {}),
        MemoryWatch(node.pid) as memory,
        running('the camera', command, log) as camera,
    ):
        while not camera.has_ended():
            collector.receive(_POLLING_S)
            node.check_alive()
        _await_reports(collector, node)
        seconds = float(camera.last_line())
    arrivals = collector.arrivals[start:]
    return Run(
        transport,
        rate_hz,
        frames,
        seconds,
        [arrival for arrival in arrivals if arrival.topic == POSE_TOPIC],
        [before, *_reports(arrivals)],
        memory,
        watched,
    )


def _await_reports(collector: Collector, node: Child) -> None:
    wanted = collector.count(DIAGNOSTICS_TOPIC) + _REPORTS
    left_s = _REPORT_PATIENCE_S
    while collector.count(DIAGNOSTICS_TOPIC) < wanted:
        if left_s < 0:
            raise ReplayError(
                f'the node does not report on {DIAGNOSTICS_TOPIC}; it said last: '
                f'{node.last_line()} (whole output: {node.log})'
            )
        collector.receive(_POLLING_S)
        node.check_alive()
        left_s -= _POLLING_S


def _reports(arrivals: list[Arrival]) -> list[tuple[int, dict[str, str]]]:
    """When the node's diagnostics arrived, and their values by key."""
    found: list[tuple[int, dict[str, str]]] = []
    for arrival in arrivals:
        if arrival.topic == DIAGNOSTICS_TOPIC:
            for status in parsed(arrival.data, DIAGNOSTICS_TYPE).status:
                if status.name.startswith(f'{NODE_NAME}:'):
                    values = {value.key: value.value for value in status.values}
                    found.append((arrival.time, values))
    return found


def count(values: Mapping[str, str], key: str) -> int:
    """A counter of a report; 0 where it has none yet."""
    return int(values.get(key, 0))
