"""The command `implicit-loc`."""

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.commands import (
    ablate,
    align_world,
    benchmark,
    calibrate,
    check,
    evaluate,
    evaluate_bag,
    finetune,
    landmarks,
    map,
    report,
    train,
    train_many,
)


class Command(Protocol):
    """A module that implements one subcommand; its docstring is the help."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does the work; returns the exit code."""


COMMANDS: dict[str, Command] = {
    'train': train,
    'train-many': train_many,
    'finetune': finetune,
    'landmarks': landmarks,
    'calibrate': calibrate,
    'evaluate': evaluate,
    'evaluate-bag': evaluate_bag,
    'ablate': ablate,
    'benchmark': benchmark,
    'report': report,
    'map': map,
    'check': check,
    'align-world': align_world,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; known errors end in one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog='implicit-loc', description='Train and evaluate visual localizers.'
    )
    subparsers = parser.add_subparsers(dest='command', required=True)
    for name, command in COMMANDS.items():
        description = (command.__doc__ or '').strip()
        subparser = subparsers.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
    arguments = parser.parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except (ImplicitLocError, OSError) as error:
        print(f'implicit-loc {arguments.command}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'implicit-loc {arguments.command}: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())
