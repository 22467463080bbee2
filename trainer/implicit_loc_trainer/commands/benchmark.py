"""Measure how long a checkpoint takes from image to pose, beside what it would replace."""

import argparse
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_device,
    add_split,
    count,
    open_split,
)
from implicit_loc_trainer.output_files import check_writable
from implicit_loc_trainer.threads import cores
from implicit_loc_trainer.tracking import tracked

if TYPE_CHECKING:
    from implicit_loc_trainer.benchmark.running import Benchmark, Plan

_WIDTH = 180


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_checkpoint(parser)
    parser.add_argument(
        '--data',
        metavar='PATH',
        type=Path,
        help='a recording of its place (default: made-up images and predictions)',
    )
    add_split(parser, 'frames of it', 'test')
    parser.add_argument(
        '--heights',
        metavar='H,...',
        type=_counts,
        default=(240, 480, 720),
        help="of the network's input, pixels (default: 240,480,720)",
    )
    parser.add_argument(
        '--strides',
        metavar='S,...',
        type=_counts,
        default=(4, 8, 16),
        help='pixels per output cell (default: 4,8,16)',
    )
    parser.add_argument(
        '--runtimes', metavar='R,...', type=_names, help='that execute it (default: all there are)'
    )
    parser.add_argument(
        '--frames',
        metavar='N',
        type=count,
        default=50,
        help='images for each row (default: 50)',
    )
    parser.add_argument(
        '--threads', metavar='N', type=count, help='of the CPU (default: one per core)'
    )
    parser.add_argument(
        '--no-memory',
        action='store_true',
        help='leave out memory and start-up, which take a process for every row',
    )
    add_device(parser)
    group = parser.add_argument_group('outputs')
    group.add_argument('--json', metavar='F', type=Path, help='write the figures')
    group.add_argument('--markdown', metavar='F', type=Path, help='write the tables')


def run(arguments: argparse.Namespace) -> int:
    """Measures, prints the tables and writes what was asked for.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint, data, runtime or device cannot be used, or an output cannot
            be written; the latter is found before the work starts.
        OSError: reading or writing failed.
    """
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc_trainer.benchmark.files import machine, write_json, write_markdown
    from implicit_loc_trainer.benchmark.running import benchmark
    from implicit_loc_trainer.benchmark.runtimes import missing_runtimes
    from implicit_loc_trainer.benchmark.tables import tables

    for path in (arguments.json, arguments.markdown):
        if path is not None:
            check_writable(path)
    samples = open_split(arguments.data, arguments.split) if arguments.data else None
    missing = {}
    if arguments.runtimes is None:
        missing = missing_runtimes(arguments.checkpoint, arguments.device)
    plan = _plan(arguments, missing)
    result = benchmark(plan, samples, tracked)
    images = str(arguments.data) if arguments.data else 'made-up images and predictions'
    about = (
        f'{arguments.checkpoint.name}, {images}: {machine(arguments.device)}, '
        f'{plan.threads} threads, {plan.turns} images for each row, all of one size in turns'
    )
    _print(result, about, missing)
    if arguments.json is not None:
        write_json(arguments.json, plan, result, images)
    if arguments.markdown is not None:
        write_markdown(arguments.markdown, tables(result), about)
    return 0


def _plan(arguments: argparse.Namespace, missing: Collection[str]) -> 'Plan':
    from implicit_loc.runtimes import RUNTIMES
    from implicit_loc_trainer.benchmark.running import Plan

    return Plan(
        checkpoint=arguments.checkpoint,
        heights=arguments.heights,
        strides=arguments.strides,
        runtimes=arguments.runtimes or [name for name in RUNTIMES if name not in missing],
        turns=arguments.frames,
        device=arguments.device,
        threads=arguments.threads or cores(),
        memory=not arguments.no_memory,
    )


def _print(result: 'Benchmark', about: str, missing: Mapping[str, str]) -> None:
    from implicit_loc_trainer.benchmark.tables import legend, tables

    # Where nobody looks, eighty columns would only break the cells of the widest table.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    console.print(about, markup=False)
    for table in tables(result):
        console.print(table)
    for name, meaning in legend().items():
        console.print(f'{name}: {meaning}', markup=False)
    for name, reason in missing.items():
        console.print(f'not measured: {name}: {reason}', markup=False)


def _counts(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1, each once, smallest first."""
    return tuple(sorted({count(part.strip()) for part in text.split(',')}))


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(',')))
