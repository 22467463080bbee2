"""A process whose parent is killed does not live on unseen."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    deadline = time.monotonic() + 20
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(child)


def _lives(process: int) -> bool:
    try:
        state = Path(f'/proc/{process}/stat').read_text().rsplit(')', 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != 'Z'
