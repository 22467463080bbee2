"""Refine a checkpoint with frames of which only the position is known."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT', type=Path, help='.safetensors file')
    parser.add_argument(
        '--positions',
        metavar='DATA',
        required=True,
        help='a recording whose positions are learned; orientations it may have are ignored',
    )
    parser.add_argument(
        '--split',
        metavar='S',
        default='train',
        help='frames of --positions: train, test, or a file of names (default: train)',
    )
    parser.add_argument(
        '--data',
        metavar='MORE',
        nargs='+',
        default=[],
        help='recordings with whole poses, mixed in',
    )
    parser.add_argument(
        '--data-split',
        metavar='S',
        default='train',
        help='frames of --data: train, test, or a file of names (default: train)',
    )
    parser.add_argument(
        '--output', metavar='DIR', default='runs/finetuned', help='(default: runs/finetuned)'
    )
    parser.add_argument('--epochs', metavar='N', type=int, default=12, help='(default: 12)')
    parser.add_argument(
        '--set',
        metavar='section.key=value',
        nargs='+',
        default=[],
        help='other entries of the recipe, for instance optimizer.learning_rate=3e-5',
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains for a few epochs; prints where the new checkpoint lies."""
    # PyTorch and Lightning take seconds to import.
    from implicit_loc_trainer.recipes.recipe import changed_recipe, entries
    from implicit_loc_trainer.training.fine_tuning import fine_tuning_recipe
    from implicit_loc_trainer.training.runs import train

    recipe = fine_tuning_recipe(
        arguments.checkpoint,
        arguments.positions,
        arguments.output,
        arguments.epochs,
        arguments.data,
        arguments.split,
        arguments.data_split,
    )
    recipe = changed_recipe(recipe, entries(arguments.set), 'of --set')
    try:
        path = train(recipe)
    except KeyboardInterrupt:
        print('interrupted: the same command goes on where it stopped', file=sys.stderr)
        return 130
    print(f'checkpoint: {path}')
    return 0
