"""One process at a time in a folder."""

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from implicit_loc.errors import ImplicitLocError

_SECONDS_BETWEEN_TRIES = 0.2


class FolderInUseError(ImplicitLocError):
    """Another process works in a folder."""


@contextmanager
def folder_lock(
    folder: Path, name: str, advice: str, wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Holds a lock on a folder while the block runs.

    The lock belongs to the process: the kernel releases it on any death, and helper processes
    that outlive a killed parent for a moment do not keep it.

    Args:
        folder: to work in; it exists.
        name: of the file that is locked; it stays.
        advice: what to do if another process has it, for the message.
        wait: if given, wait for the other process instead; takes who that is, once.

    Raises:
        FolderInUseError: another process has the lock; names it.
        OSError: the file cannot be made, or the file system knows no locks.
    """
    # Not truncated: it names the holder until the lock is ours.
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _try_lock(descriptor):
            holder = _read(descriptor)
            if wait is None:
                raise FolderInUseError(f'{folder} is in use by {holder}: {advice}')
            wait(holder)
            wait = _said
            time.sleep(_SECONDS_BETWEEN_TRIES)
        os.ftruncate(descriptor, 0)
        started = time.strftime('%Y-%m-%d %H:%M:%S')
        text = f'process {os.getpid()} on {socket.gethostname()}, since {started}\n'
        os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 1000, 0).decode(errors='replace').strip() or 'another process'


def _said(_: str) -> None:
    """The person knows already who is waited for."""
