"""The node's threads share their memory, however many come and go."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
if platform.libc_ver()[0] != 'glibc':
    pytest.skip('arenas are those of glibc', allow_module_level=True)

from implicit_loc_ros.memory import bound_arenas, return_freed

CHOICES = {'MALLOC_ARENA_MAX': '5', 'GLIBC_TUNABLES': 'glibc.malloc.arena_max=5'}

# The node's own start, which fails at a parameter, and then as many threads as change an active
# node's map for an hour.
START_THEN_THREADS = """
import ctypes, re, sys, tempfile, threading
from implicit_loc_ros.localization_node import main

assert main(['--ros-args', '-p', 'tf_mode:=sideways']) == 1

together = threading.Barrier(12)
def work():
    blocks = [bytearray(50_000) for _ in range(400)]
    together.wait()
    del blocks
    together.wait()

threads = [threading.Thread(target=work) for _ in range(together.parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b'w'))
assert libc.malloc_info(0, file) == 0
libc.fclose(file)
"""


def test_threads_share_arenas(tmp_path: Path) -> None:
    file = tmp_path / 'malloc.xml'
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    command = [sys.executable, '-c', START_THEN_THREADS, str(file)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert file.read_text().count('<heap nr=') == 2


@pytest.mark.parametrize(('name', 'value'), CHOICES.items())
def test_the_user_decides(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert not bound_arenas()


def resident_mb() -> float:
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def test_memory_between_what_is_in_use_goes_back_to_the_system() -> None:
    # Blocks of this size come from the heap, which otherwise shrinks at its end only.
    blocks = [bytearray(50_000) for _ in range(4000)]
    blocks = blocks[::100]
    before = resident_mb()
    return_freed()
    assert resident_mb() < before - 100
    assert len(blocks) == 40
