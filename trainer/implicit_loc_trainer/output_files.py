"""Files that are either written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from implicit_loc.errors import ImplicitLocError


class OutputError(ImplicitLocError):
    """A file or folder that is to be written cannot be."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what stands there becomes `path` when the block succeeds.

    A reader never sees half a file, and a failure leaves an older file as it was.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Makes the parent folders of `path` and tries that a file can be put there.

    Raises:
        OutputError: it cannot.
    """
    try:
        resolved = path.resolve()
        if resolved.exists() and not resolved.is_file():
            raise OutputError(f'{path} cannot be written: it is a folder or a device, not a file')
        resolved.parent.mkdir(parents=True, exist_ok=True)
        probe = resolved.with_name(f'.{resolved.name}.{os.getpid()}.probe')
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(f'{path} cannot be written: a part of it is no folder') from error
    except OSError as error:
        raise OutputError(f'{path} cannot be written: {error.strerror}') from error
