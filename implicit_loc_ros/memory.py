"""What the C library keeps of memory that was freed."""

import ctypes
import os

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
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))
