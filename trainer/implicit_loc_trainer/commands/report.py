"""Write a page that shows how good a checkpoint is, and what it has learned."""

import argparse
from pathlib import Path

from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_data,
    add_device,
    add_split,
    count,
    open_split,
)
from implicit_loc_trainer.output_files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_checkpoint(parser)
    add_data(parser, 'the recording that it was learned from')
    parser.add_argument(
        '--output', metavar='F', type=Path, help='page to write (default: beside the checkpoint)'
    )
    add_split(parser, 'frames that were learned from', 'train', '--train-split')
    add_split(parser, 'frames to localize', 'test')
    parser.add_argument(
        '--frames',
        metavar='N',
        type=count,
        default=1000,
        help='localize at most so many of them, evenly spaced (default: 1000)',
    )
    parser.add_argument(
        '--run',
        metavar='DIR',
        type=Path,
        help='folder with recipe and log of the training (default: that of the checkpoint)',
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures, writes the page and prints where it lies.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or the page cannot be written; the
            latter is found before the work starts.
        OSError: reading or writing failed.
    """
    # matplotlib takes its time to import: the other commands should not wait for it.
    from implicit_loc_trainer.report.writing import REPORT, write_report

    folder = arguments.checkpoint.parent
    path = arguments.output or folder / REPORT
    check_writable(path)
    write_report(
        path,
        arguments.checkpoint,
        str(arguments.data),
        open_split(arguments.data, arguments.train_split),
        open_split(arguments.data, arguments.split),
        arguments.frames,
        arguments.run or folder,
        arguments.device,
    )
    print(f'written: {path}')
    return 0
