"""Give a checkpoint its landmarks anew, from the frames that it learned."""

import argparse

from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_data,
    add_device,
    add_rewritten,
    count,
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
        help='frames that it learned: train, test, or a file that lists frame names '
        '(default: those of train, without the blocks that its training held out)',
    )
    parser.add_argument(
        '--count', metavar='N', type=count, default=6000, help='at most so many (default: 6000)'
    )
    add_rewritten(parser)
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Finds and describes the landmarks, and writes the checkpoint.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or the output cannot be written; the
            latter is found before the work starts.
        OSError: reading or writing failed.
    """
    # PyTorch takes seconds to import: not for --help.
    from implicit_loc_trainer.calibration.held_out import learned_frames
    from implicit_loc_trainer.landmarks.after_training import add_landmarks, landmarks_of

    output = arguments.output or arguments.checkpoint
    check_writable(output)
    data = str(arguments.data)
    if arguments.split:
        samples = open_split(data, arguments.split)
    else:
        samples = learned_frames(arguments.checkpoint, data)
    added = add_landmarks(
        arguments.checkpoint,
        landmarks_of(samples, arguments.checkpoint),
        arguments.count,
        output,
        print,
        arguments.device,
    )
    print(added.described())
    print(f'written: {output}')
    print(
        'Its covariance and confidence are not calibrated now: '
        f'implicit-loc calibrate {output} --data {data}'
    )
    return 0
