"""Processes that belong to another one."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent is dead.

    A parent that was killed could not end it, and it would train on where nobody sees it.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
