"""Processes that belong to another one end with it, and are heard when they die."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from implicit_loc_trainer import child_processes
from implicit_loc_trainer.child_processes import ProcessError

CHILD = """
import time
from implicit_loc_trainer.child_processes import end_with_parent
end_with_parent()
print('up', flush=True)
time.sleep(100)
"""
PARENT = """
import subprocess, sys, time
command = [sys.executable, '-c', sys.argv[1]]
pipe = subprocess.PIPE
child = subprocess.Popen(command, stdout=pipe, text=True, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(100)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='only the Linux kernel does this')
def test_a_killed_parent_takes_its_child_along() -> None:
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT, CHILD], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _lives(child)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        state = Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != 'Z'


def test_children_are_stopped_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_processes, 'PATIENCE_S', {signal.SIGINT: 0.2, signal.SIGTERM: 0.2})
    log = tmp_path / 'log'
    deaf = (
        'import signal, time\n'
        'for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n'
        "print('ready', flush=True)\n"
        'time.sleep(60)'
    )
    children = []

    def interrupted() -> None:
        with child_processes.running('the deaf', [sys.executable, '-c', deaf], log) as child:
            children.append(child)
            while 'ready' not in log.read_text():
                time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessError, match='status -9'):
        children[0].has_ended()


def test_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    dying = "print('[ERROR] [17.5] [node]: no \\'network\\''); raise SystemExit(3)"
    log = tmp_path / 'log'
    with child_processes.running('the node', [sys.executable, '-c', dying], log) as child:
        while child._process.poll() is None:
            time.sleep(0.02)
        with pytest.raises(ProcessError, match="the node ended with status 3: no 'network'"):
            child.check_alive()
