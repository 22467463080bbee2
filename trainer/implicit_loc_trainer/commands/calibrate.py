"""Calibrate covariance and confidence of a checkpoint on frames that it never learned."""

import argparse

from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_data,
    add_device,
    add_rewritten,
    open_split,
)
from implicit_loc_trainer.output_files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_checkpoint(parser)
    add_data(parser, 'the recording that it was learned from')
    parser.add_argument(
        '--split',
        metavar='S',
        help='frames that it never learned: train, test, or a file that lists frame names '
        '(default: the blocks that its training held out)',
    )
    add_rewritten(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures, writes the calibrated checkpoint and prints how honest it is.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or the output cannot be written; the
            latter is found before the work starts.
        OSError: reading or writing failed.
    """
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc_trainer.calibration.after_training import calibrate_checkpoint
    from implicit_loc_trainer.calibration.held_out import held_out_frames

    output = arguments.output or arguments.checkpoint
    check_writable(output)
    data = str(arguments.data)
    if arguments.split:
        samples = open_split(data, arguments.split)
    else:
        samples = held_out_frames(arguments.checkpoint, data)
    outcome = calibrate_checkpoint(
        arguments.checkpoint, samples, data, output, print, arguments.device
    )
    print(outcome.described())
    print(f'written: {output}')
    return 0
