"""Train a grid of recipes on one or more recordings, and write tables of the results."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from implicit_loc_trainer.ablation.running import Ablation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('grid', metavar='GRID.yaml', type=Path, help='recipes and tables')
    parser.add_argument(
        '--data',
        metavar='[[GROUP/]NAME=]PATH',
        nargs='+',
        required=True,
        help='recordings: the scenes of the tables; groups are averaged',
    )
    parser.add_argument('--output', metavar='DIR', type=Path, required=True, help='all results')
    parser.add_argument(
        '--budget', metavar='NAME', default='', help='of the grid, for instance short'
    )
    parser.add_argument(
        '--only', metavar='VARIANT', nargs='+', default=[], help='run these variants alone'
    )
    parser.add_argument(
        '--set',
        metavar='section.key=value',
        nargs='+',
        default=[],
        help='entries of every recipe, for instance run.device=cuda',
    )
    parser.add_argument(
        '--retry-failed', action='store_true', help='run again what failed earlier'
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs what has no result yet; the tables are written anew after every run.

    Returns:
        0 if every run has figures, else 1.
    """
    from implicit_loc_trainer.ablation.grid import load_grid
    from implicit_loc_trainer.ablation.running import Ablation
    from implicit_loc_trainer.ablation.scenes import parse_scenes
    from implicit_loc_trainer.recipes.recipe import entries
    from implicit_loc_trainer.recipes.sections import ConfigError
    from implicit_loc_trainer.training.folder_lock import folder_lock

    grid = load_grid(arguments.grid)
    unknown = [name for name in arguments.only if name not in grid.variants]
    if unknown:
        known = ', '.join(grid.variants)
        raise ConfigError(f'the grid has no variant {unknown[0]!r}; it has {known}')
    ablation = Ablation(
        grid=grid,
        scenes=parse_scenes(arguments.data),
        budget=grid.budget(arguments.budget),
        changes=entries(arguments.set),
        output=arguments.output,
        report=lambda text: print(text, flush=True),
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    with folder_lock(arguments.output, '.lock', 'wait for it, or choose another --output'):
        return _run(arguments, ablation)


def _run(arguments: argparse.Namespace, ablation: 'Ablation') -> int:
    from implicit_loc_trainer.ablation.results import Result, Results
    from implicit_loc_trainer.ablation.writing import MARKDOWN, write_tables

    # All of them before the first: a mistake in the last should not come up after days.
    runs = list(ablation.runs())
    results = Results(arguments.output / 'results.jsonl')
    ended: dict[str, Result] = {}
    for run in runs:
        known = results.find(run.variant, run.scene.group, run.scene.name, run.fingerprint)
        if known is not None:
            ended[run.fingerprint] = known

    def write() -> None:
        about = ', '.join([arguments.budget or 'that of the recipes', *arguments.set])
        found = list(ended.values())
        write_tables(arguments.output, ablation.grid, ablation.scenes, found, about)

    write()
    try:
        for run in runs:
            if not arguments.only or run.variant in arguments.only:
                result = ablation.carry_out(run, results, arguments.retry_failed)
                ended[run.fingerprint] = result
                write()
    except KeyboardInterrupt:
        print('interrupted: the same command goes on where it stopped', file=sys.stderr)
        return 130
    failed = [result for result in ended.values() if result.reason]
    print(f'{len(ended)} of {len(runs)} runs have ended, {len(failed)} of them failed')
    print(f'tables: {arguments.output / MARKDOWN}')
    return 1 if failed else 0
