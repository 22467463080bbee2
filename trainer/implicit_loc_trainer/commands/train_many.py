"""Train one recipe on many recordings, one after the other or on a Ray cluster."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('config', metavar='CONFIG.yaml', type=Path, help='the recipe of all')
    parser.add_argument(
        '--data',
        metavar='[NAME=]PATH',
        nargs='+',
        required=True,
        help='the recordings; each is trained in the folder of its name',
    )
    parser.add_argument(
        '--output', metavar='DIR', type=Path, required=True, help='folder of all runs'
    )
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        nargs='?',
        const='local',
        help='spread them over a Ray cluster: its address, or auto; without one, over the GPUs '
        'of this machine',
    )
    parser.add_argument(
        '--set',
        metavar='section.key=VALUE',
        nargs='+',
        default=[],
        help='entries of the recipe to replace, for instance optimizer.epochs=20',
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains all; prints a table.

    Returns:
        The exit status: 0, 1 if a training failed, 130 if all were interrupted.

    Raises:
        ConfigError: the recipe or the names of the recordings cannot be used.
        ClusterError: Ray is missing, or the cluster cannot train these scenes.
    """
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc_trainer.recipes.recipe import load_recipe

    overrides = [f'--{entry}' for entry in arguments.set]
    recipe = load_recipe(arguments.config, overrides)
    # Nor should a mistake in the recipe wait for the rest.
    from implicit_loc_trainer.many.train_many import train_many

    train_arguments = [str(arguments.config.resolve()), *overrides]
    return train_many(recipe, train_arguments, arguments.data, arguments.output, arguments.ray)
