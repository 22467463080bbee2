"""Command of the evaluation of a bag: `ros2 run implicit_loc_ros evaluate_bag`."""

import os
import sys
from importlib.util import find_spec

_TRAINER = 'implicit_loc_trainer'
_MISSING = (
    'evaluate_bag: the trainer, which evaluates, is not installed for this Python: run '
    '`python3 -m pip install ./trainer` in the source folder of implicit_loc_ros'
)


def main(args: list[str] | None = None) -> None:
    """Become `implicit-loc evaluate-bag`, which needs no ROS.

    Args:
        args: command line; None for the process's own.

    Raises:
        SystemExit: the trainer is not installed.
    """
    if find_spec(_TRAINER) is None:
        sys.exit(_MISSING)
    arguments = sys.argv[1:] if args is None else args
    os.execv(sys.executable, [sys.executable, '-m', _TRAINER, 'evaluate-bag', *arguments])


if __name__ == '__main__':
    main()
