"""Measure how well a checkpoint localizes the frames of a recording."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track
from rich.table import Table

from implicit_loc_trainer.output_files import check_writable

if TYPE_CHECKING:
    from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT', type=Path, help='.safetensors file')
    parser.add_argument(
        '--data', metavar='PATH', type=Path, required=True, help='a recording with poses'
    )
    parser.add_argument(
        '--split',
        metavar='FILE',
        type=Path,
        help='names of the frames to evaluate, one a line (default: the test split of the data)',
    )
    parser.add_argument(
        '--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N (default: auto)'
    )
    parser.add_argument('--json', metavar='F', type=Path, help='write the figures')
    parser.add_argument('--csv', metavar='F', type=Path, help='write the errors of every frame')
    parser.add_argument('--tum', metavar='F', type=Path, help='write the estimated trajectory')
    parser.add_argument(
        '--pictures', metavar='DIR', type=Path, help='draw errors, trajectory and frames'
    )
    parser.add_argument(
        '--pnp',
        action='store_true',
        help='also solve PnP + RANSAC (OpenCV) on the same world points',
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, prints the figures and writes what was asked for.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or an output cannot be written; the
            latter is found before the evaluation starts.
        OSError: reading or writing failed.
    """
    # PyTorch and matplotlib take seconds to import: not for --help.
    from implicit_loc.localizer import Localizer
    from implicit_loc_trainer.datasets import open_dataset
    from implicit_loc_trainer.evaluation import pictures
    from implicit_loc_trainer.evaluation.frames import evaluate

    for path in (arguments.json, arguments.csv, arguments.tum):
        if path is not None:
            check_writable(path)
    if arguments.pictures is not None:
        for name in pictures.PICTURES:
            check_writable(arguments.pictures / name)
    samples = open_dataset(arguments.data, arguments.split or 'test')
    localizer = Localizer.load(arguments.checkpoint, arguments.device)
    progress = track(
        samples,
        description='evaluating',
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    stride = localizer.description.network.stride
    results = evaluate(localizer, progress, pnp_stride=stride if arguments.pnp else None)
    console = Console()
    console.print(_table(results, f'{arguments.checkpoint.name} on {arguments.data}'))
    _print_lost(console, results.frames)
    for path in _write(arguments, results):
        console.print(f'written: {path}', highlight=False, soft_wrap=True)
    return 0


def _write(arguments: argparse.Namespace, results: 'Evaluation') -> list[Path]:
    """Writes the files that were asked for and returns their paths."""
    from implicit_loc_trainer.evaluation import files, pictures

    written = []
    if arguments.json is not None:
        files.write_json(arguments.json, results)
        written.append(arguments.json)
    if arguments.csv is not None:
        files.write_csv(arguments.csv, results)
        written.append(arguments.csv)
    if arguments.tum is not None:
        files.write_estimates(arguments.tum, results.frames)
        written.append(arguments.tum)
    if arguments.pictures is not None:
        written.extend(pictures.draw(arguments.pictures, results))
    return written


def _table(results: 'Evaluation', title: str) -> Table:
    from implicit_loc_trainer.evaluation.tables import cells

    methods = {'closed form': results.frames}
    if results.pnp:
        methods['PnP + RANSAC'] = results.pnp
    table = Table(title=title, title_justify='left')
    table.add_column('')
    columns = []
    for name, frames in methods.items():
        table.add_column(name, justify='right')
        columns.append(cells(frames))
    for label in columns[0]:
        table.add_row(label, *(column[label] for column in columns))
    return table


def _print_lost(console: Console, frames: 'Sequence[FrameResult]') -> None:
    """Says why most of the lost frames were lost."""
    reasons = Counter(frame.lost_reason for frame in frames if frame.estimated_pose is None)
    if reasons:
        reason, count = reasons.most_common(1)[0]
        console.print(f'lost {count}x: {reason}', highlight=False, markup=False, soft_wrap=True)
