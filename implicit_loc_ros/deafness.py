"""Finds that Fast DDS has lost what the process listens to, and starts the process anew.

A participant that takes a shared-memory port for broken removes it and makes another one of the
same name. Whoever listens to the removed one is not told: nobody who comes later can reach it
(https://github.com/eProsima/Fast-DDS/issues/5737).
"""

import math
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from implicit_loc.errors import ImplicitLocError

# How long a port has to be lost: while Fast DDS replaces one, it is lost for a moment.
_LOST_S = 3.0
_LOOK_PERIOD_S = 1.0
# Of the process, before it starts itself anew: else a standing cause would do it without end.
SHORTEST_LIFE_S = 60.0
# Its presence tells the next program in this process that the node was active.
_WAS_ACTIVE = 'IMPLICIT_LOC_ROS_WAS_ACTIVE'

_BEGUN = time.monotonic()
_SELF = Path('/proc/self')

# Fast DDS 2 (Jazzy) and 3 (Kilted). Only who listens to a port holds its exclusive lock; the ports
# of others, which a writer maps as well, are often removed rightly: their listeners have left.
_LOCK = re.compile(r'/(fast(?:rtps|dds)_port\d+)_el(?: \(deleted\))?$')
_PORT = re.compile(r'/(fast(?:rtps|dds)_port\d+)( \(deleted\))?$')


class DeafError(ImplicitLocError):
    """Nothing reaches the process any more; a new start helps."""


def lost_ports(maps: str, open_files: Iterable[str]) -> frozenset[str]:
    """Ports that the process listens to and that nobody else can find.

    Args:
        maps: text of /proc/PID/maps.
        open_files: what the links in /proc/PID/fd point to.
    """
    own = {found[1] for file in open_files if (found := _LOCK.search(file))}
    ports = [found for line in maps.splitlines() if (found := _PORT.search(line))]
    removed = {port[1] for port in ports if port[2]}
    return frozenset(own & removed - {port[1] for port in ports if not port[2]})


class DeafnessWatch:
    """Judges from one review to the next."""

    def __init__(self) -> None:
        self._lost: frozenset[str] = frozenset()
        self._since = self._looked_at = -math.inf

    def review(self, is_silent: bool, may_start_anew: bool) -> str:
        """Call it several times a second.

        Args:
            is_silent: whether images do not come.
            may_start_anew: whether nothing would be lost but time.

        Returns:
            What is lost for long, in words; empty if nothing is.

        Raises:
            DeafError: it may start anew, and is old enough.
        """
        now = time.monotonic()
        # Looking takes 2 ms of the executor's time.
        if is_silent and now - self._looked_at < _LOOK_PERIOD_S:
            return self._verdict()
        self._looked_at = now
        lost = _own_lost_ports() if is_silent else frozenset()
        if not lost & self._lost:
            self._since = now
        self._lost = lost
        verdict = self._verdict()
        if verdict and may_start_anew and now - _BEGUN > SHORTEST_LIFE_S:
            raise DeafError(verdict)
        return verdict

    def _verdict(self) -> str:
        if not self._lost or self._looked_at - self._since <= _LOST_S:
            return ''
        return f'Fast DDS has lost {", ".join(sorted(self._lost))}: nobody new reaches the node'


def start_anew() -> None:
    """Run the same command in the same process; it does not return."""
    os.environ[_WAS_ACTIVE] = '1'
    # An inherited lock would keep its port from the new program.
    for name in os.listdir('/proc/self/fd'):
        if int(name) > 2:
            _keep_from_heirs(int(name))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def was_active() -> bool:
    """Whether this process was started anew out of an active node; only the first call tells."""
    return os.environ.pop(_WAS_ACTIVE, '') != ''


def _keep_from_heirs(descriptor: int) -> None:
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        # That of the listing itself, or of a thread that is just ending.
        return


def _own_lost_ports() -> frozenset[str]:
    """None where there is no /proc, and with any other middleware."""
    try:
        # Names of files are bytes.
        maps = (_SELF / 'maps').read_text(errors='replace')
        files = [_target(link) for link in (_SELF / 'fd').iterdir()]
    except OSError:
        return frozenset()
    return lost_ports(maps, files)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        # Closed meanwhile.
        return ''
