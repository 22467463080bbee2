"""Measure how well a checkpoint localizes the images of a ROS 2 bag, and why where it does not."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from implicit_loc.confidence import LEAST_CONFIDENCE
from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_device,
    count,
    finite,
    non_negative,
    share,
)

if TYPE_CHECKING:
    from implicit_loc_trainer.bag_evaluation.requirements import Requirement
    from implicit_loc_trainer.bag_evaluation.writing import Outcome, Task
    from implicit_loc_trainer.datasets.bag_options import Recording

REQUIREMENT_FAILED = 2
_PICTURES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        'bag', metavar='BAG', type=Path, help='folder, .mcap or .db3 file, or a recording.yaml'
    )
    add_checkpoint(parser)
    _add_topics(parser)
    _add_truth(parser)
    _add_selection(parser)
    group = parser.add_argument_group('localizing')
    add_device(parser)
    group.add_argument(
        '--solver', metavar='NAME', help='how poses are found (default: as the node does)'
    )
    group.add_argument(
        '--runtime',
        metavar='R',
        default='auto',
        help='how the network is executed: auto, eager, onnx and others (default: as the node '
        'does)',
    )
    group.add_argument(
        '--threads', metavar='N', type=count, help='of the CPU (default: as PyTorch decides)'
    )
    group.add_argument(
        '--min-confidence',
        metavar='C',
        type=share,
        default=LEAST_CONFIDENCE,
        help=f'poses below are rejected, 0 to 1 (default: {LEAST_CONFIDENCE:g})',
    )
    group.add_argument(
        '--through-node',
        action='store_true',
        help='also show the images to the running ROS 2 node, in real time: availability, '
        'latency, drops',
    )
    _add_outputs(parser)


def _add_topics(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('topics', 'found by their types where nothing is given')
    group.add_argument('--image-topic', metavar='T', help='Image or CompressedImage')
    group.add_argument('--camera-info-topic', metavar='T', help='CameraInfo of these images')
    group.add_argument(
        '--camera', metavar='F', type=Path, help="ROS's calibration file, instead of a CameraInfo"
    )
    group.add_argument(
        '--rectified', action='store_true', default=None, help='the images are rectified'
    )
    group.add_argument(
        '--camera-frame', metavar='F', help='optical frame (default: that of the images)'
    )


def _add_truth(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('truth', 'found by its type where nothing is given')
    group.add_argument(
        '--truth',
        metavar='T',
        help='topic (PoseStamped, PoseWithCovarianceStamped, TransformStamped, Odometry), '
        'the word tf, or a TUM file',
    )
    group.add_argument(
        '--truth-frame', metavar='F', help='whose pose it is (default: as it says, or the camera)'
    )
    group.add_argument(
        '--world-frame', metavar='F', help='frame of TF that is the map (default: its root)'
    )
    group.add_argument(
        '--extrinsic',
        metavar='E',
        help='camera in the tracked frame: "x y z qx qy qz qw", or a file (default: from TF)',
    )
    group.add_argument(
        '--time-offset',
        metavar='S',
        type=finite,
        default=0.0,
        help='seconds to add to the stamps of the truth (default: 0)',
    )
    group.add_argument(
        '--max-time-difference',
        metavar='S',
        type=non_negative,
        help='between the true poses around an image, seconds (default: 0.2)',
    )
    group.add_argument(
        '--align',
        action='store_true',
        help='move all estimates by the one rigid motion that fits them best to the truth',
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('which images', 'all by default')
    group.add_argument('--start', metavar='S', type=non_negative, default=0.0, help='from here on')
    group.add_argument('--duration', metavar='S', type=non_negative, help='for so many seconds')
    group.add_argument('--every', metavar='N', type=count, default=1, help='of so many one')


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('outputs')
    group.add_argument(
        '--output',
        metavar='DIR',
        type=Path,
        help='folder for report.html, figures.json, frames.csv, TUM files and plots '
        '(default: <name of the bag>_evaluation)',
    )
    group.add_argument(
        '--force', action='store_true', help='overwrite what an earlier evaluation wrote'
    )
    group.add_argument(
        '--pictures',
        metavar='N',
        type=count,
        default=_PICTURES,
        help=f'frames of which the report keeps pictures (default: {_PICTURES})',
    )
    group.add_argument(
        '--result-bag',
        action='store_true',
        help='also write images, truth, poses, TF and diagnostics as a bag for RViz and Foxglove',
    )
    group.add_argument(
        '--require',
        metavar='R',
        help='comparisons such as median_translation_m<0.1,recall_25cm_10deg>0.95; exit status '
        f'{REQUIREMENT_FAILED} where one fails',
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, prints the figures and writes the files.

    Returns:
        The exit status: 0, or 2 where a requirement failed.

    Raises:
        ImplicitLocError: a requirement is malformed, bag, truth or checkpoint cannot be used, or
            the outputs are in the way; the cheap ones are found before the work starts.
        OSError: reading or writing failed.
    """
    # PyTorch and matplotlib take seconds to import: not for --help.
    from implicit_loc_trainer.bag_evaluation import outputs
    from implicit_loc_trainer.bag_evaluation.figures import FIGURE_NAMES
    from implicit_loc_trainer.bag_evaluation.requirements import parse_requirements
    from implicit_loc_trainer.bag_evaluation.result_bag import write_result_bag
    from implicit_loc_trainer.bag_evaluation.through_node import NODE_FIGURE_NAMES
    from implicit_loc_trainer.bag_evaluation.writing import evaluate_task, write_outcome
    from implicit_loc_trainer.bag_writing import remove_bag

    names = (*FIGURE_NAMES, *(NODE_FIGURE_NAMES if arguments.through_node else ()))
    text = arguments.require
    requirements = [] if text is None else parse_requirements(text, names)
    task = _task(arguments)
    bag = task.recording.bag.resolve()
    folder = arguments.output or Path(f'{bag.stem if bag.is_file() else bag.name}_evaluation')
    outputs.check_outputs(folder, arguments.force)
    outcome = evaluate_task(task)
    path = folder / outputs.RESULT_BAG
    # One of an earlier evaluation would pass for the bag of these figures.
    remove_bag(path)
    written = write_outcome(folder, task, outcome, requirements)
    if arguments.result_bag:
        write_result_bag(path, task.recording.bag, outcome.source, outcome.evaluation.frames,
                         task.min_confidence)  # fmt: skip
        written.append(path)
    _print(task, outcome, requirements)
    for path in written:
        print(f'written: {path}')
    numbers = outcome.numbers
    return 0 if all(one.is_met(numbers) for one in requirements) else REQUIREMENT_FAILED


def _task(arguments: argparse.Namespace) -> 'Task':
    from implicit_loc.solvers import DEFAULT_SOLVER
    from implicit_loc_trainer.bag_evaluation.source import Selection
    from implicit_loc_trainer.bag_evaluation.truth import TruthSource
    from implicit_loc_trainer.bag_evaluation.writing import Task

    selection = Selection(start_s=arguments.start, every=arguments.every)
    if arguments.duration is not None:
        selection = replace(selection, duration_s=arguments.duration)
    return Task(
        checkpoint=arguments.checkpoint,
        recording=_recording(arguments),
        selection=selection,
        truth=TruthSource(arguments.truth, arguments.world_frame, arguments.time_offset),
        min_confidence=arguments.min_confidence,
        align=arguments.align,
        device=arguments.device,
        solver=arguments.solver or DEFAULT_SOLVER,
        pictures=arguments.pictures,
        through_node=arguments.through_node,
        runtime=arguments.runtime,
        threads=arguments.threads,
    )


def _recording(arguments: argparse.Namespace) -> 'Recording':
    """The options of the bag's recording.yaml, if it has one, under those that were given."""
    from implicit_loc_trainer.bag_evaluation.extrinsic import read_extrinsic
    from implicit_loc_trainer.datasets.bag_options import read_recording

    given: dict[str, Any] = {
        'image_topic': arguments.image_topic,
        'camera_info_topic': arguments.camera_info_topic,
        'camera': arguments.camera,
        'rectified': arguments.rectified,
        'camera_frame': arguments.camera_frame,
        'tracked_frame': arguments.truth_frame,
        'max_gap_s': arguments.max_time_difference,
        'tracked_from_camera': read_extrinsic(arguments.extrinsic)
        if arguments.extrinsic
        else None,
    }
    values = {name: value for name, value in given.items() if value is not None}
    return replace(read_recording(arguments.bag), **values)


def _print(task: 'Task', outcome: 'Outcome', requirements: 'Sequence[Requirement]') -> None:
    from implicit_loc_trainer.bag_evaluation.summary import summary_lines

    console = Console(width=None if sys.stdout.isatty() else 140)
    for line in summary_lines(task, outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    numbers = outcome.numbers
    for requirement in requirements:
        style = 'green' if requirement.is_met(numbers) else 'bold red'
        console.print(
            requirement.verdict(numbers),
            style=style,
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
