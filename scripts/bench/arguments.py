"""Arguments of the commands that run the node on a recording."""

import argparse
from pathlib import Path

import yaml
from replay.arguments import add_map
from replay.child_process import ROOT

from implicit_loc_trainer.commands.common import count
from implicit_loc_trainer.datasets import Sample, open_dataset


def add_recording_and_node(parser: argparse.ArgumentParser, name: str) -> None:
    """Declares --data, --images, --checkpoint, --device, --parameter, --output and --json.

    Args:
        parser: of the command.
        name: of the command.
    """
    add = parser.add_argument
    add_map(parser)
    add('--images', metavar='N', type=count, default=50, help='different ones of the recording')
    add('--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N')
    add(
        '--parameter',
        metavar='NAME=VALUE',
        type=_parameter,
        action='append',
        default=[],
        help='of the node, repeatable, for instance solver=robust',
    )
    add(
        '--output',
        metavar='DIR',
        type=Path,
        default=ROOT / 'output' / name,
        help='folder for logs',
    )
    add('--json', metavar='FILE', type=Path, help='write the figures')


def recorded_samples(parsed: argparse.Namespace) -> list[Sample]:
    """The first --images test images of --data, all of one camera.

    Raises:
        ImplicitLocError: the recording cannot be used.
    """
    samples = open_dataset(parsed.data, 'test')
    # One CameraInfo serves all of them.
    return [one for one in samples if one.camera == samples[0].camera][: parsed.images]


def _parameter(text: str) -> tuple[str, object]:
    name, equals, value = text.partition('=')
    if not (name and equals):
        raise argparse.ArgumentTypeError(f'{text!r} must be NAME=VALUE')
    return name, yaml.safe_load(value)
