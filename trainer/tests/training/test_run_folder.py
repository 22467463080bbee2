"""One training at a time in a folder; what a killed one leaves does no harm."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest
import small_training

from implicit_loc_trainer.training.folder_lock import FolderInUseError
from implicit_loc_trainer.training.memory import available_memory, readable_bytes
from implicit_loc_trainer.training.run_folder import locked


def _hold(folder: Path) -> None:
    with locked(folder):
        (folder / 'held').touch()
        time.sleep(100)


def test_a_second_training_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    """Also while a helper process of the dead one lives on."""
    folder = tmp_path / 'run'
    process = small_training.in_a_fork(lambda: _hold(folder))
    try:
        while not (folder / 'held').exists():
            time.sleep(0.001)
        message = f'run is in use by process {process} on {socket.gethostname()}, since'
        for _ in range(2):
            with pytest.raises(FolderInUseError, match=message), locked(folder):
                pass
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    with locked(folder):
        pass


def test_a_helper_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    def hold_with_helper() -> None:
        with locked(tmp_path):
            helper = small_training.in_a_fork(lambda: time.sleep(100))
            (tmp_path / 'helper').write_text(str(helper))
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(small_training.in_a_fork(hold_with_helper), 0)
    helper = int((tmp_path / 'helper').read_text())
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(helper, signal.SIGKILL)


def test_half_files_of_a_killed_training_are_removed(tmp_path: Path) -> None:
    (tmp_path / '.last.ckpt.123.tmp').touch()
    (tmp_path / '.checkpoint.safetensors.123.part').touch()
    (tmp_path / '.report.html.7.tmp').touch()
    (tmp_path / 'last.ckpt').touch()
    with locked(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ['.lock', 'last.ckpt']


def test_hidden_files_of_others_stay(tmp_path: Path) -> None:
    """The folder of a run may be one that other programs write to."""
    foreign = ['.last.ckpt.mine.tmp', '.notes.123.tmp', '.video.mp4.part', '.x.tmp']
    for name in foreign:
        (tmp_path / name).touch()
    with locked(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        '.last.ckpt.mine.tmp',
        '.lock',
        *foreign[1:],
    ]


def test_memory_is_told_in_words() -> None:
    assert readable_bytes(518_400_000) == '518 MB'
    assert readable_bytes(20_480) == '20.5 kB'
    assert readable_bytes(23_100_000_000) == '23.1 GB'
    available = available_memory()
    assert available is None or 10**7 < available < 10**14
