"""Export the implicit map of a checkpoint as a coloured, weighted point cloud."""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.output_files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT', type=Path, help='.safetensors file')
    parser.add_argument(
        '--data', metavar='PATH', type=Path, required=True, help='the recording of the place'
    )
    parser.add_argument('--ply', metavar='F', type=Path, required=True, help='file to write')
    parser.add_argument(
        '--split',
        metavar='S',
        default='train',
        help='train, test, or a file that lists frame names (default: train)',
    )
    parser.add_argument(
        '--least-weight',
        metavar='W',
        type=_number,
        default=0.0,
        help='leave out points below this weight, in [0, 1] (default: 0)',
    )
    parser.add_argument(
        '--voxel',
        metavar='M',
        type=_number,
        default=0.01,
        help='keep one point in each cube of this side, metres; 0 keeps all (default: 0.01)',
    )
    parser.add_argument(
        '--most-points',
        metavar='N',
        type=_count,
        default=1_000_000,
        help='enlarge the cubes until at most so many points remain (default: 1000000)',
    )
    parser.add_argument(
        '--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N (default: auto)'
    )


def run(arguments: argparse.Namespace) -> int:
    """Predicts the frames and writes the cloud.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, the file cannot be written (found
            before the work starts), or no point has the weight asked for.
        OSError: reading or writing failed.
    """
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc.localizer import Localizer
    from implicit_loc_trainer.datasets import open_dataset
    from implicit_loc_trainer.report.ply import write_ply
    from implicit_loc_trainer.report.point_cloud import gather, map_frames

    check_writable(arguments.ply)
    named = arguments.split in ('train', 'test')
    samples = open_dataset(arguments.data, arguments.split if named else Path(arguments.split))
    localizer = Localizer.load(arguments.checkpoint, arguments.device)
    progress = track(
        samples,
        description='mapping',
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    cloud = gather(
        map_frames(localizer, progress),
        arguments.most_points,
        arguments.voxel,
        arguments.least_weight,
    )
    if len(cloud) == 0:
        raise ImplicitLocError(
            f'none of the points of {len(samples)} frames is finite and has a weight of at least '
            f'{arguments.least_weight:g}: lower --least-weight'
        )
    write_ply(arguments.ply, cloud)
    print(f'written: {arguments.ply} ({len(cloud)} points of {len(samples)} frames)')
    return 0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f'{text!r} must be a number of at least 0')
    return value


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least 1')
    return int(text)
