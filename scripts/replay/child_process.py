"""Child processes that never outlive their parent's work."""

import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from replay.errors import ReplayError

ROOT = Path(__file__).resolve().parents[2]

# What a process is given to end after each signal, seconds; then it is killed.
PATIENCE_S = {signal.SIGINT: 15.0, signal.SIGTERM: 5.0}
# The node's log lines begin with level, time and name in brackets.
LOG_PREFIX = re.compile(r'^(\[[^]]*\] *)+:? *')


def transport_environment() -> dict[str, str]:
    """Variables for all processes of one replay; those that the user has set stay.

    A DDS domain of their own on this machine only, and room for images in shared memory, which
    Fast DDS 2 (Jazzy) and 3 (Kilted) read from different variables.
    """
    profile = str(ROOT / 'config' / 'fastdds_large_images.xml')
    ours = {
        'ROS_DOMAIN_ID': str(random.randint(1, 100)),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
        'FASTDDS_DEFAULT_PROFILES_FILE': profile,
    }
    return {name: os.environ.get(name) or value for name, value in ours.items()}


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

    def has_ended(self) -> bool:
        """Whether it ended well.

        Raises:
            ReplayError: it ended with an error.
        """
        status = self._process.poll()
        if status is not None and status != 0:
            raise ReplayError(
                f'{self.name} ended with status {status}: {self.last_line()} '
                f'(whole output: {self.log})'
            )
        return status is not None

    def check_alive(self) -> None:
        """Do nothing while it runs.

        Raises:
            ReplayError: it has ended.
        """
        if self.has_ended():
            raise ReplayError(f'{self.name} ended too early (its output: {self.log})')

    def last_line(self) -> str:
        """What the process said last."""
        lines = self.log.read_text(encoding='utf-8', errors='replace').split('\n')
        said = [LOG_PREFIX.sub('', line).strip() for line in lines]
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
def running(name: str, command: Sequence[str], log: Path) -> Iterator[Child]:
    """Runs a command until the block ends, however it ends.

    Args:
        name: for messages.
        command: program and arguments.
        log: file for its output, stdout and stderr; is overwritten.

    Raises:
        OSError: the log cannot be written.
    """
    with log.open('wb') as output:
        # A session of its own: Ctrl-C reaches the parent only, which then stops all in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child = Child(name, process, log)
    try:
        yield child
    finally:
        child.stop()
