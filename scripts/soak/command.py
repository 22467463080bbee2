"""Runs the real ROS 2 node for long, among faults or changes of its map; fails where it fails."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
from bench.arguments import add_recording_and_node, recorded_samples
from replay.child_process import Child, running, transport_environment
from replay.ending import exit_status
from replay.errors import ReplayError
from replay.playback import node_command
from rich.console import Console
from rich.table import Table

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.commands.common import count, positive
from implicit_loc_trainer.output_files import check_writable, replacing
from implicit_loc_trainer.ros_messages import camera_info_message, image_message
from soak.faults import FAULTS
from soak.judging import LONGEST_S, FloatArray, in_words
from soak.robot import CAMERA_FROM_BASE, Robot, Shot
from soak.soaks import Course, among_faults, among_maps, two_maps

# Any that is not zero, which means "no stamp".
_SOME_STAMP = 1
_MOST_FAILURES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; the exit status is 1 where anything failed."""
    parsed = _parser().parse_args(arguments)
    os.environ.update(transport_environment())
    return exit_status(lambda: soak(parsed), parsed.output, _say)


def soak(parsed: argparse.Namespace) -> None:
    """Prepare images, run the node, print and write what happened.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, a process ended, or the node failed.
        OSError: an output cannot be written.
    """
    for path in (parsed.output / 'log', parsed.json):
        if path is not None:
            check_writable(path)
    # The node would refuse a bad checkpoint, too, but only after all images are rendered.
    load_checkpoint(parsed.checkpoint)
    course = _among_faults(parsed) if parsed.kind == 'faults' else _among_maps(parsed)
    Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(_table(course))
    if parsed.json is not None:
        with replacing(parsed.json) as temporary:
            text = json.dumps(asdict(course), indent=2, allow_nan=False)
            temporary.write_text(text + '\n', encoding='utf-8')
    for failure in course.failures[:_MOST_FAILURES]:
        _say(failure)
    if course.failures:
        raise ReplayError(f'failed: {len(course.failures)} things are wrong')


def _among_faults(parsed: argparse.Namespace) -> Course:
    # Poses of the base, and the transform of its odometry, need the most of the robot.
    with _robot(parsed, CAMERA_FROM_BASE) as robot, _node(parsed, tf_mode='map_to_odom') as node:
        robot.await_node(node)
        return among_faults(
            robot,
            node,
            parsed.only,
            parsed.duration,
            parsed.seed,
            parsed.longest,
            parsed.latest,
            _say,
        )


def _among_maps(parsed: argparse.Namespace) -> Course:
    with (
        tempfile.TemporaryDirectory(prefix='implicit-loc-') as folder,
        _robot(parsed, np.eye(4)) as robot,
        _node(parsed) as node,
    ):
        maps = two_maps(parsed.checkpoint, Path(folder))
        robot.await_node(node)
        return among_maps(robot, node, maps, parsed.count, parsed.latest, _say)


def _node(parsed: argparse.Namespace, **parameters: str) -> AbstractContextManager[Child]:
    own = {'checkpoint': str(parsed.checkpoint.resolve()), 'device': parsed.device, **parameters}
    command = node_command({**own, **dict(parsed.parameter)})
    return running('the node', command, parsed.output / f'node_{parsed.kind}.log')


def _robot(parsed: argparse.Namespace, camera_from_body: FloatArray) -> Robot:
    samples = recorded_samples(parsed)
    _say(f'preparing {len(samples)} images')
    shots = [
        Shot(
            image_message(_SOME_STAMP, sample.load_image()),
            (sample.world_from_camera @ camera_from_body)[:3, 3],
        )
        for sample in samples
    ]
    return Robot(shots, camera_info_message(_SOME_STAMP, samples[0].camera), parsed.rate)


def _table(course: Course) -> Table:
    memory = 'unknown' if course.memory is None else in_words(course.memory)
    title = (
        f'{course.kind}: {course.seconds:.0f} s, {course.images} images, {course.poses} poses\n'
        f'resident memory over time: {memory}'
    )
    found = Table(title=title, title_justify='left')
    found.add_column('until a pose after')
    for head in ('times', 'median s', 'largest s'):
        found.add_column(head, justify='right')
    for name, waits in course.waits.items():
        found.add_row(name, str(len(waits)), f'{median(waits):.2f}', f'{max(waits):.2f}')
    return found


def _say(text: str) -> None:
    print(f'soak_node: {text}', file=sys.stderr, flush=True)


def _faults(text: str) -> list[str]:
    names = [part.strip() for part in text.split(',')]
    if unknown := [name for name in names if name not in FAULTS]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(FAULTS)}')
    return names


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog='scripts/soak_node', description=__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True, metavar='KIND')
    faults = kinds.add_parser('faults', help='random faults', formatter_class=formatter)
    swaps = kinds.add_parser('swaps', help='changes of the map', formatter_class=formatter)
    for kind in (faults, swaps):
        add_recording_and_node(kind, 'soak_node')
        kind.add_argument(
            '--rate', metavar='HZ', type=positive, default=10.0, help='images per second'
        )
        kind.add_argument(
            '--latest',
            metavar='S',
            type=positive,
            default=LONGEST_S,
            help='a pose that comes later after its image, a fault or the last pose is a failure',
        )
    swaps.add_argument('--count', metavar='N', type=count, default=50, help='how many changes')
    add = faults.add_argument
    add(
        '--duration',
        metavar='S',
        type=positive,
        default=600.0,
        help='no fault begins later, but every fault happens once',
    )
    add('--seed', metavar='N', type=int, default=0, help='of the order and length of the faults')
    add('--longest', metavar='S', type=positive, default=5.0, help='seconds that a fault lasts')
    add(
        '--only',
        metavar='FAULT,...',
        type=_faults,
        default=','.join(FAULTS),
        help='which faults happen',
    )
    return parser
