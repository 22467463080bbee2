"""One replay: the node runs, the bag is played to it, and the answers are collected."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from implicit_loc_trainer.ros_messages import (
    DIAGNOSTICS_TYPE,
    POSE_TYPE,
    POSE_WITH_COVARIANCE_TYPE,
    TF_TYPE,
)
from replay.child_process import ROOT, Child, running
from replay.collector import Arrival, Collector
from replay.errors import ReplayError
from replay.recording import CAMERA_INFO_TOPIC, IMAGE_TOPIC, TRUTH_TOPIC, Frame

NODE_NAME = 'localization_node'
POSE_TOPIC = f'/{NODE_NAME}/pose'
POSE_WITH_COVARIANCE_TOPIC = f'/{NODE_NAME}/pose_with_covariance'
TF_TOPIC = '/tf'
DIAGNOSTICS_TOPIC = '/diagnostics'
ANSWERS = {
    POSE_TOPIC: POSE_TYPE,
    POSE_WITH_COVARIANCE_TOPIC: POSE_WITH_COVARIANCE_TYPE,
    TF_TOPIC: TF_TYPE,
}

# A busy machine takes this long to import PyTorch.
START_PATIENCE_S = 180.0
# Silence after the last image that means that no further pose comes.
QUIET_S = 3.0
# The node reports once a second.
REPORT_PATIENCE_S = 3.0
POLLING_S = 0.05


def node_command(parameters: Mapping[str, str | float]) -> list[str]:
    """The real node with its shipped configuration, except for these parameters."""
    config = str(ROOT / 'config' / 'localization.yaml')
    command = [sys.executable, '-m', 'implicit_loc_ros.localization_node', '--ros-args']
    command += ['--params-file', config]
    for name, value in parameters.items():
        # JSON is YAML, whatever characters a path has.
        command += ['-p', f'{name}:={json.dumps(value)}']
    return command


def player_command(bag: Path) -> list[str]:
    """Plays a bag in real time, stamped as if a camera took the images now."""
    topics = (IMAGE_TOPIC, CAMERA_INFO_TOPIC, TRUTH_TOPIC)
    options = ['--restamp', '--wait-for-subscribers', *topics, '--patience', '60']
    return [sys.executable, '-m', 'bag_player', str(bag), *options]


def replay(
    bag: Path,
    frames: Sequence[Frame],
    parameters: Mapping[str, str | float],
    logs: Path,
) -> list[Arrival]:
    """Play a recording to a node.

    Args:
        bag: made by `record`.
        frames: what it holds.
        parameters: of the node, where they differ from the shipped configuration.
        logs: folder for the output of the processes; must exist.

    Returns:
        The true poses as played, and all that the node answered and reported, in the order of
        arrival.

    Raises:
        ReplayError: a process ended, or the node does not get ready.
    """
    topics = {TRUTH_TOPIC: POSE_TYPE, **ANSWERS, DIAGNOSTICS_TOPIC: DIAGNOSTICS_TYPE}
    with Collector(topics) as collector:
        command = node_command(parameters)
        with running('the node', command, logs / 'node.log') as node:
            await_active(node, collector, IMAGE_TOPIC)
            command = player_command(bag)
            with running('the bag player', command, logs / 'player.log') as player:
                while not player.has_ended():
                    collector.receive(POLLING_S)
                    node.check_alive()
            _await_silence(node, collector, len(frames))
            _await_report(node, collector)
            if not collector.count(POSE_TOPIC):
                raise ReplayError(
                    f'no pose arrived for {len(frames)} frames; the node said last: '
                    f'{node.last_line()} (whole output: {node.log})'
                )
    return collector.arrivals


def await_active(node: Child, collector: Collector, topic: str) -> None:
    """Wait until the node is active: then it subscribes to the topic of its images, never before.

    Raises:
        ReplayError: it ended, or does not get active.
    """
    deadline = time.monotonic() + START_PATIENCE_S
    while not collector.is_subscribed(NODE_NAME, topic):
        node.check_alive()
        if time.monotonic() > deadline:
            raise ReplayError(
                f'the node did not become active in {START_PATIENCE_S:g} s; '
                f'it said last: {node.last_line()} (whole output: {node.log})'
            )
        collector.receive(POLLING_S)


def _await_silence(node: Child, collector: Collector, frame_count: int) -> None:
    """A slow machine may still be busy with the last images."""
    arrived, heard = -1, time.monotonic()
    while time.monotonic() - heard < QUIET_S:
        counts = [collector.count(topic) for topic in ANSWERS]
        if sum(counts) > arrived:
            arrived, heard = sum(counts), time.monotonic()
        if min(counts) >= frame_count:
            return
        collector.receive(POLLING_S)
        node.check_alive()


def _await_report(node: Child, collector: Collector) -> None:
    """The next report counts every image; without one, fewer refusals are known."""
    reports = collector.count(DIAGNOSTICS_TOPIC)
    deadline = time.monotonic() + REPORT_PATIENCE_S
    while collector.count(DIAGNOSTICS_TOPIC) == reports and time.monotonic() < deadline:
        collector.receive(POLLING_S)
        node.check_alive()
