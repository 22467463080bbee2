"""Write a page that shows how good a checkpoint is, and what it has learned."""

import argparse
from pathlib import Path

from implicit_loc_trainer.output_files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT', type=Path, help='.safetensors file')
    parser.add_argument(
        '--data', metavar='PATH', required=True, help='the recording that it was learned from'
    )
    parser.add_argument(
        '--output', metavar='F', type=Path, help='page to write (default: beside the checkpoint)'
    )
    parser.add_argument(
        '--train-split',
        metavar='S',
        default='train',
        help='frames that were learned from: train, test or a list of names (default: train)',
    )
    parser.add_argument(
        '--split',
        metavar='S',
        default='test',
        help='frames to localize: train, test or a list of names (default: test)',
    )
    parser.add_argument(
        '--frames',
        metavar='N',
        type=int,
        default=1000,
        help='localize at most so many of them, evenly spaced (default: 1000)',
    )
    parser.add_argument(
        '--run',
        metavar='DIR',
        type=Path,
        help='folder with recipe and log of the training (default: that of the checkpoint)',
    )
    parser.add_argument(
        '--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N (default: auto)'
    )


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
    from implicit_loc_trainer.report.writing import REPORT, frames_of, write_report

    folder = arguments.checkpoint.parent
    path = arguments.output or folder / REPORT
    check_writable(path)
    write_report(
        path,
        arguments.checkpoint,
        arguments.data,
        frames_of(arguments.data, arguments.train_split),
        frames_of(arguments.data, arguments.split),
        max(1, arguments.frames),
        arguments.run or folder,
        arguments.device,
    )
    print(f'written: {path}')
    return 0
