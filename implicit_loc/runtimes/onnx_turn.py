"""Several processes, one export: two cameras of a robot use the same map."""

import fcntl
import time
import weakref
from contextlib import suppress
from pathlib import Path

# Whoever holds the turn for longer has been stopped, or is no longer asked for images.
_PATIENCE_S = 300.0
_POLLING_S = 0.1


class ExportTurn:
    """The right to export the network of a checkpoint, which one process at a time has.

    It is a lock on the checkpoint itself, which ends with the process that holds it. Where there
    is nothing to lock, as on some network drives, everybody has it: then the work is done twice.

    Args:
        checkpoint: of the network; None where it comes from no file.
    """

    def __init__(self, checkpoint: Path | None) -> None:
        self._deadline = time.monotonic() + _PATIENCE_S
        self._file = None
        if checkpoint is not None:
            with suppress(OSError):
                self._file = checkpoint.open('rb')
                weakref.finalize(self, self._file.close)

    def take(self) -> bool:
        """Whether it is this process's turn now; later calls ask again."""
        if self._file is None or time.monotonic() > self._deadline:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def wait(self) -> None:
        """Take it as soon as it is free."""
        while not self.take():
            time.sleep(_POLLING_S)

    def end(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._file.close()
            self._file = None
