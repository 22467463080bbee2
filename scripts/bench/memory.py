"""Resident memory of a process while it works."""

import threading
import time
from pathlib import Path
from types import TracebackType

_PERIOD_S = 0.2


class MemoryWatch:
    """Notes the resident memory of a process; use it in a with statement.

    Args:
        pid: of a running process.
        shared: whether memory that it shares with others counts, such as that by which the images
            of a camera come.

    Attributes:
        samples: time since the epoch in nanoseconds, and 10^6 bytes.
    """

    def __init__(self, pid: int, shared: bool = True) -> None:
        self.samples: list[tuple[int, float]] = []
        self._shared = shared
        self._status = Path(f'/proc/{pid}/status')
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> 'MemoryWatch':
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def at(self, nanoseconds: int) -> float | None:
        """10^6 bytes at a time, or when it was looked at next; None where it was not."""
        return next((mb for sampled, mb in self.samples if sampled >= nanoseconds), self.last)

    @property
    def last(self) -> float | None:
        """10^6 bytes in the end; None where the system does not tell."""
        return self.samples[-1][1] if self.samples else None

    def _watch(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            resident = self._resident_mb()
            if resident is not None:
                self.samples.append((time.time_ns(), resident))

    def _resident_mb(self) -> float | None:
        try:
            status = self._status.read_text(encoding='ascii')
        except OSError:
            # The process has ended, or the system has no such files.
            return None
        kilobytes = {
            name: int(words.split()[0])
            for name, _, words in (line.partition(':') for line in status.splitlines())
            if name in ('VmRSS', 'RssShmem')
        }
        if 'VmRSS' not in kilobytes:
            return None
        others = 0 if self._shared else kilobytes.get('RssShmem', 0)
        return 1024 * (kilobytes['VmRSS'] - others) / 1e6
