"""Arguments that several commands have, and what becomes of them."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from implicit_loc_trainer.datasets import Sample


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Declares CHECKPOINT, a path."""
    parser.add_argument('checkpoint', metavar='CHECKPOINT', type=Path, help='.safetensors file')


def add_data(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Declares --data, a path or the name of a built-in recording.

    Args:
        parser: of the command.
        meaning: what the recording is to the command.
    """
    parser.add_argument('--data', metavar='PATH', type=Path, required=True, help=meaning)


def add_split(
    parser: argparse.ArgumentParser, meaning: str, default: str, option: str = '--split'
) -> None:
    """Declares which frames of a recording are used; `open_split` reads them.

    Args:
        parser: of the command.
        meaning: what the command does with them.
        default: 'train' or 'test'.
        option: its name.
    """
    parser.add_argument(
        option,
        metavar='S',
        default=default,
        help=f'{meaning}: train, test, or a file that lists frame names (default: {default})',
    )


def add_rewritten(parser: argparse.ArgumentParser) -> None:
    """Declares --output, where a changed checkpoint goes."""
    parser.add_argument(
        '--output', metavar='F', type=Path, help='checkpoint to write (default: the same file)'
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declares --device."""
    parser.add_argument(
        '--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N (default: auto)'
    )


def open_split(data: str | Path, split: str) -> 'list[Sample]':
    """The frames of a split: 'train', 'test', or the path of a list of names.

    Raises:
        DataError: the recording or the list cannot be used.
    """
    # The readers take their time to import: not for --help.
    from implicit_loc_trainer.datasets import open_dataset

    return open_dataset(data, split if split in ('train', 'test') else Path(split))


def non_negative(text: str) -> float:
    """The type of an argument: a finite number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0.0):
        raise argparse.ArgumentTypeError(f'{text!r} must be a number of at least 0')
    return value


def finite(text: str) -> float:
    """The type of an argument: a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f'{text!r} must be a finite number')
    return value


def share(text: str) -> float:
    """The type of an argument: a number from 0 to 1."""
    value = non_negative(text)
    if value > 1.0:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number from 0 to 1')
    return value


def positive(text: str) -> float:
    """The type of an argument: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number above 0')
    return value


def count(text: str) -> int:
    """The type of an argument: a whole number of at least 1."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number of at least 1')
    return int(text)
