"""Processes that belong to another one."""

import ctypes
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from implicit_loc.errors import ImplicitLocError

_PR_SET_PDEATHSIG = 1

# What a process is given to end after each signal, seconds; then it is killed.
PATIENCE_S = {signal.SIGINT: 15.0, signal.SIGTERM: 5.0}
# The node's log lines begin with level, time and name in brackets.
_LOG_PREFIX = re.compile(r'^(\[[^]]*\] *)+:? *')


class ProcessError(ImplicitLocError):
    """A process ended, or nothing came back from it; the message says what helps."""


def end_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent is dead.

    A parent that was killed could not end it, and it would train on where nobody sees it.
    """
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A running process.

    Args:
        name: for messages.
        process: started.
        log: where its output goes.
    """

    def __init__(self, name: str, process: 'subprocess.Popen[bytes]', log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input, if it was started to be talked to."""
        assert self._process.stdin is not None
        return self._process.stdin

    def has_ended(self) -> bool:
        """Whether it ended well.

        Raises:
            ProcessError: it ended with an error.
        """
        status = self._process.poll()
        if status is not None and status != 0:
            raise ProcessError(
                f'{self.name} ended with status {status}: {self.last_line()} '
                f'(whole output: {self.log})'
            )
        return status is not None

    def check_alive(self) -> None:
        """Do nothing while it runs.

        Raises:
            ProcessError: it has ended.
        """
        if self.has_ended():
            raise ProcessError(f'{self.name} ended too early (its output: {self.log})')

    def last_line(self) -> str:
        """What the process said last."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').split('\n')
        said = [_LOG_PREFIX.sub('', line).strip() for line in lines]
        return next((line for line in reversed(said) if line), 'it said nothing')

    def stop(self) -> None:
        """End it, gently first; at once if this is interrupted."""
        try:
            for number, patience_s in PATIENCE_S.items():
                if self._ends_within(patience_s, number):
                    return
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def _ends_within(self, seconds: float, number: signal.Signals) -> bool:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    talks: bool = False,
) -> Iterator[Child]:
    """Runs a command until the block ends, however it ends.

    Args:
        name: for messages.
        command: program and arguments.
        log: file for its output, stdout and stderr; is overwritten.
        environment: its variables; None = those of this process.
        talks: whether its standard input is a pipe; else it is empty.

    Raises:
        OSError: the log cannot be written.
    """
    with log.open('wb') as output:
        # A session of its own: Ctrl-C reaches the parent only, which then stops all in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()
