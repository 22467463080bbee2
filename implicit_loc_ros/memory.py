"""What the C library keeps of memory that was freed."""

import ctypes
import os
from collections.abc import Callable

# Of glibc's malloc.h; the main arena counts.
_M_ARENA_MAX = -8
_ARENAS = 2


def bound_arenas() -> bool:
    """Let all threads share two arenas of malloc; call it before there are threads.

    By default glibc makes up to eight arenas per core, and a new thread takes any of them: each
    activation and each map has a thread of its own, and every arena that one of them has worked
    in keeps about 20 MB of freed memory (malloc_info and smaps of a node among faults).

    Returns:
        Whether it is done; not where the user has decided, or where the C library is another.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'MALLOC_ARENA_MAX' in os.environ or 'glibc.malloc.arena_max' in tunables:
        return False
    mallopt = _of_c_library('mallopt')
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, _ARENAS))


def return_freed() -> None:
    """Give back to the system what was freed and lies between what is in use.

    For after a map has gone: without it, fifty changes of the map left 300 MB behind.
    """
    trim = _of_c_library('malloc_trim')
    if trim is not None:
        trim(0)


def _of_c_library(name: str) -> Callable[..., int] | None:
    """A function of glibc; None where the C library is another."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return found
