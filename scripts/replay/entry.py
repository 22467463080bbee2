"""What `python -m` does for every command here."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def run(name: str, load: Callable[[], Callable[[], int]]) -> NoReturn:
    """Run a command; Ctrl-C ends it in one line.

    Args:
        name: for messages.
        load: imports the command, which takes seconds, and returns it.
    """
    # Like Ctrl-C, so that whatever runs is stopped in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        status = load()()
    except KeyboardInterrupt:
        # While importing, too.
        print(f'{name}: interrupted', file=sys.stderr)
        status = 130
    sys.exit(status)
