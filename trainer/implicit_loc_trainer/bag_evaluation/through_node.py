"""The same images through the running ROS 2 node in real time: what a robot would get.

The trainer needs no ROS: the node, and what shows it the images and collects its answers, are
processes of the ROS package.
"""

import base64
import json
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from implicit_loc_trainer.bag_evaluation.alignment import WorldAlignment
from implicit_loc_trainer.bag_evaluation.figures import longest_outage_s
from implicit_loc_trainer.bag_evaluation.source import BagFrames
from implicit_loc_trainer.child_processes import Child, ProcessError, running
from implicit_loc_trainer.datasets.bag_images import COMPRESSED
from implicit_loc_trainer.datasets.bag_reader import Bag
from implicit_loc_trainer.datasets.parsing import FloatArray, rigid_from_quaternion
from implicit_loc_trainer.evaluation.metrics import (
    CORRECT,
    json_figures,
    rotation_error_deg,
    translation_error_m,
)
from implicit_loc_trainer.ros_messages import camera_info_message

_NODE = 'implicit_loc_ros.localization_node'
_SESSION = 'implicit_loc_ros.bag_session'
_NAMESPACE = '/evaluate_bag'
_READY = 'ready'
# After the last image: the last poses, the last report, the end of the process.
_PATIENCE_S = 60.0
_POLLING_S = 0.1


@dataclass(frozen=True)
class NodeFigures:
    """What came through the node; NaN where nothing did.

    Attributes:
        node_availability: share of the images with a published pose.
        node_longest_outage_s: longest time without one, seconds.
        node_dropped: images without a pose that the node did not refuse: newer ones overtook
            them, or they were lost on the way.
        node_false_accepts: published poses that are off by more than 25 cm or 10 deg.
        node_median_translation_m: error of the published poses, metres.
        node_median_rotation_deg: likewise, degrees.
        node_latency_p50_ms: from an image's stamp to the arrival of its pose at another process.
        node_latency_p95_ms: likewise.
        node_latency_p99_ms: likewise.
    """

    node_availability: float
    node_longest_outage_s: float
    node_dropped: int
    node_false_accepts: int
    node_median_translation_m: float
    node_median_rotation_deg: float
    node_latency_p50_ms: float
    node_latency_p95_ms: float
    node_latency_p99_ms: float


@dataclass(frozen=True)
class NodeOutcome:
    """What came through the node.

    Attributes:
        figures: of all images.
        refused: images that the node refused, by its reasons.
        late: images that were shown later than a camera would have: this machine was too slow.
    """

    figures: NodeFigures
    refused: dict[str, int]
    late: int

    def as_json(self) -> dict[str, Any]:
        """The figures by name, with None for those that are not known."""
        return {
            **json_figures(asdict(self.figures)),
            'node_refused': self.refused,
            'node_images_shown_late': self.late,
        }


NODE_FIGURE_NAMES = tuple(field.name for field in fields(NodeFigures))


def check_node() -> None:
    """Finds out early whether there is a node to be run.

    Raises:
        ProcessError: ROS 2 or the ROS package is not there.
    """
    for module in ('rclpy', 'implicit_loc_ros'):
        if find_spec(module) is None:
            raise ProcessError(
                f'--through-node needs {module}, which this Python does not find: source the '
                'setup of ROS 2 and of the workspace with implicit_loc_ros, or leave it out'
            )


def through_node(
    bag: Path,
    source: BagFrames,
    parameters: Mapping[str, str | float],
    alignment: WorldAlignment | None = None,
) -> NodeOutcome:
    """Shows the images to the node at the pace of their stamps.

    Args:
        bag: that holds them.
        source: which images, and their true poses.
        parameters: of the node, where they differ from its defaults.
        alignment: taken out before poses are compared; None for none.

    Raises:
        ImplicitLocError: the bag is damaged, or a process ended.
    """
    environment = {
        **os.environ,
        # A robot on the same network must not hear any of it.
        'ROS_DOMAIN_ID': str(random.randint(1, 100)),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
    with tempfile.TemporaryDirectory(prefix='evaluate_bag_') as scratch:
        logs = Path(scratch)
        answers = logs / 'answers.json'
        command = [sys.executable, '-m', _SESSION, str(answers)]
        # A robot's camera publishes whether the node is busy or not: both are processes.
        with (
            running('the node', _node_command(bag, source, parameters), logs / 'node.log',
                    environment) as node,
            running('the session', command, logs / 'session.log', environment,
                    talks=True) as session,
        ):  # fmt: skip
            _show(bag, source, node, session)
            deadline = time.monotonic() + _PATIENCE_S
            while not session.has_ended():
                node.check_alive()
                if time.monotonic() > deadline:
                    raise ProcessError(
                        f'the answers of the node are not complete after {_PATIENCE_S:g} s; it '
                        f'said last: {node.last_line()}'
                    )
                time.sleep(_POLLING_S)
        found = json.loads(answers.read_text(encoding='utf-8'))
    return summarize_answers(source, found, alignment)


def summarize_answers(
    source: BagFrames, found: Mapping[str, Any], alignment: WorldAlignment | None = None
) -> NodeOutcome:
    """Compares the answers with the truth.

    Args:
        source: the images, in the order in which they were shown.
        found: of the session: stamps, poses, refused, late.
        alignment: taken out before poses are compared; None for none.
    """
    answers: dict[int, dict[str, Any]] = {}
    for pose in found['poses']:
        answers.setdefault(pose['stamp'], pose)
    has_pose = [stamp in answers for stamp in found['stamps']]
    metres, degrees, latencies = [], [], []
    for sample, stamp in zip(source.samples, found['stamps'], strict=True):
        if stamp not in answers:
            continue
        answer = answers[stamp]
        estimated = rigid_from_quaternion(
            'the answer of the node', answer['position'], answer['quaternion']
        )
        if alignment is not None:
            estimated = alignment.truth_from_map @ estimated
        metres.append(float(translation_error_m(sample.world_from_camera, estimated)))
        degrees.append(float(rotation_error_deg(sample.world_from_camera, estimated)))
        latencies.append((answer['arrived'] - stamp) / 1e6)
    errors = np.array(metres), np.array(degrees)
    refused = Counter({name: int(count) for name, count in found['refused'].items()})
    p50, p95, p99 = (_percentile(np.array(latencies), percent) for percent in (50, 95, 99))
    return NodeOutcome(
        NodeFigures(
            node_availability=float(np.mean(has_pose)),
            node_longest_outage_s=longest_outage_s(
                [sample.timestamp for sample in source.samples], has_pose
            ),
            node_dropped=max(0, len(has_pose) - sum(has_pose) - refused.total()),
            node_false_accepts=int(((errors[0] > CORRECT[0]) | (errors[1] > CORRECT[1])).sum()),
            node_median_translation_m=_percentile(errors[0], 50),
            node_median_rotation_deg=_percentile(errors[1], 50),
            node_latency_p50_ms=p50,
            node_latency_p95_ms=p95,
            node_latency_p99_ms=p99,
        ),
        dict(refused.most_common()),
        int(found['late']),
    )


def _percentile(values: FloatArray, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float('nan')


def _node_command(
    bag: Path, source: BagFrames, parameters: Mapping[str, str | float]
) -> list[str]:
    command = [sys.executable, '-m', _NODE, '--ros-args', '-r', f'__ns:={_NAMESPACE}']
    given: dict[str, str | float] = {
        'tf_mode': 'none',
        'pose_of': 'camera',
        'image_transport': 'compressed' if _image_type(bag, source) == COMPRESSED else 'raw',
        **parameters,
    }
    for name, value in given.items():
        # JSON is YAML, whatever characters a path has.
        command += ['-p', f'{name}:={json.dumps(value)}']
    return command


def _image_type(bag: Path, source: BagFrames) -> str:
    opened = Bag(bag)
    opened.close()
    return opened.types[source.image_topic]


def _await_ready(node: Child, session: Child) -> None:
    """The session has a limit of its own for this."""
    while _READY not in session.log.read_text(encoding='utf-8', errors='replace'):
        node.check_alive()
        session.check_alive()
        time.sleep(_POLLING_S)


def _show(bag: Path, source: BagFrames, node: Child, session: Child) -> None:
    """Sends the images in the order of their stamps; the session waits until each is due."""
    frames = [source.messages[sample.name] for sample in source.samples]
    info = camera_info_message(0, source.camera, frames[0].frame_id)
    plan = {
        'namespace': _NAMESPACE,
        'image_type': _image_type(bag, source),
        'camera_info': base64.b64encode(info).decode('ascii'),
    }
    opened = Bag(bag)
    try:
        with session.stdin as pipe:
            pipe.write(json.dumps(plan).encode('ascii') + b'\n')
            pipe.flush()
            _await_ready(node, session)
            for frame in frames:
                data = opened.raw_message(frame.key)
                pipe.write(struct.pack('<qI', frame.stamp_ns - frames[0].stamp_ns, len(data)))
                pipe.write(data)
                node.check_alive()
    except BrokenPipeError:
        node.check_alive()
        session.check_alive()
    finally:
        opened.close()
