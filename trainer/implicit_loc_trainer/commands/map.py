"""Export the implicit map of a checkpoint as a coloured, weighted point cloud."""

import argparse
from pathlib import Path

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_data,
    add_device,
    add_split,
    count,
    non_negative,
    open_split,
)
from implicit_loc_trainer.output_files import check_writable
from implicit_loc_trainer.tracking import tracked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_checkpoint(parser)
    add_data(parser, 'the recording of the place')
    parser.add_argument('--ply', metavar='F', type=Path, required=True, help='file to write')
    add_split(parser, 'frames to map', 'train')
    parser.add_argument(
        '--least-weight',
        metavar='W',
        type=non_negative,
        default=0.0,
        help='leave out points below this weight, in [0, 1] (default: 0)',
    )
    parser.add_argument(
        '--voxel',
        metavar='M',
        type=non_negative,
        default=0.01,
        help='keep one point in each cube of this side, metres; 0 keeps all (default: 0.01)',
    )
    parser.add_argument(
        '--most-points',
        metavar='N',
        type=count,
        default=1_000_000,
        help='enlarge the cubes until at most so many points remain (default: 1000000)',
    )
    add_device(parser)


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
    from implicit_loc_trainer.report.ply import write_ply
    from implicit_loc_trainer.report.point_cloud import gather, map_frames

    check_writable(arguments.ply)
    samples = open_split(arguments.data, arguments.split)
    localizer = Localizer.load(arguments.checkpoint, arguments.device, runtime='eager')
    cloud = gather(
        map_frames(localizer, tracked(samples, 'mapping')),
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
