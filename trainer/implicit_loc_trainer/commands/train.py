"""`implicit-loc train`: from a recording to a checkpoint."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('config', metavar='CONFIG.yaml', type=Path, help='the recipe')
    parser.add_argument(
        'overrides',
        metavar='--section.key value',
        nargs=argparse.REMAINDER,
        help='entries of the recipe to replace, for instance --optimizer.epochs 20',
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains; prints where the checkpoint lies."""
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc_trainer.recipes.recipe import load_recipe

    recipe = load_recipe(arguments.config, arguments.overrides)
    # Lightning takes seconds to import: a mistake in the recipe should not wait for it.
    from implicit_loc_trainer.training.runs import train

    try:
        path = train(recipe)
    except KeyboardInterrupt:
        print('interrupted: the same command goes on where it stopped', file=sys.stderr)
        return 130
    print(f'checkpoint: {path}')
    return 0
