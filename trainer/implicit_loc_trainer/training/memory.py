"""How much memory a training may take on this machine."""

from pathlib import Path

_GROUPS = Path('/sys/fs/cgroup')


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, the limit of a container included.

    None where the system does not tell (it is no Linux).
    """
    known = [value for value in (_of_machine(), _of_container()) if value is not None]
    return min(known) if known else None


def readable_bytes(count: int) -> str:
    """A number of bytes in words that people read."""
    for unit, size in (('GB', 1e9), ('MB', 1e6)):
        if count >= size:
            return f'{count / size:.3g} {unit}'
    return f'{count / 1e3:.3g} kB'


def _of_machine() -> int | None:
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
        entry = next(line for line in lines if line.startswith('MemAvailable:'))
        return 1024 * int(entry.split()[1])
    except (OSError, StopIteration, ValueError):
        return None


def _of_container() -> int | None:
    """What the control group (version 2) of this process still allows."""
    try:
        entry = Path('/proc/self/cgroup').read_text(encoding='ascii').splitlines()[-1]
        group = _GROUPS / entry.partition('::')[2].lstrip('/')
        limit = int((group / 'memory.max').read_text(encoding='ascii'))
        used = int((group / 'memory.current').read_text(encoding='ascii'))
        statistics = (group / 'memory.stat').read_text(encoding='ascii').splitlines()
        # Pages of files that nobody uses are counted, but given back on demand.
        cached = next(int(line.split()[1]) for line in statistics if 'inactive_file' in line)
    except (OSError, StopIteration, ValueError):
        return None
    return max(0, limit - used + cached)
