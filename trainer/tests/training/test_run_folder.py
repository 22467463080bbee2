"""One training at a time in a folder; what a killed one leaves does no harm."""

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
import small_training

from implicit_loc_trainer.recipes.sections import ConfigError, MapConfig
from implicit_loc_trainer.training.folder_lock import FolderInUseError
from implicit_loc_trainer.training.memory import available_memory, readable_bytes
from implicit_loc_trainer.training.run_folder import (
    CHECKPOINT,
    RECIPE,
    STATE,
    as_begun,
    is_finished,
    locked,
    prepare_folder,
)


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


def test_a_run_from_before_frames_were_held_out_goes_on_with_all_of_them(tmp_path: Path) -> None:
    """Its recipe does not name the share; its state is of no use for other frames."""
    recipe = small_training.recipe(tmp_path)
    assert recipe.data.calibration_share > 0
    prepare_folder(tmp_path, recipe)
    assert as_begun(tmp_path, recipe) == recipe
    lines = (tmp_path / RECIPE).read_text(encoding='utf-8').splitlines()
    older = [line for line in lines if 'calibration_share' not in line]
    (tmp_path / RECIPE).write_text('\n'.join(older), encoding='utf-8')
    assert as_begun(tmp_path, recipe) == recipe
    (tmp_path / STATE).touch()
    (tmp_path / CHECKPOINT).touch()
    assert is_finished(tmp_path, recipe)
    begun = as_begun(tmp_path, recipe)
    assert begun.data.calibration_share == 0
    assert prepare_folder(tmp_path, begun) == tmp_path / STATE
    with pytest.raises(ConfigError, match='a run of another recipe'):
        prepare_folder(tmp_path, recipe)


def test_landmarks_change_no_weight_and_may_be_chosen_anew(tmp_path: Path) -> None:
    """An interrupted run goes on; a finished one gets others, unless it is from before them."""
    recipe = replace(small_training.recipe(tmp_path), map=MapConfig(landmarks=50))
    other = replace(recipe, map=MapConfig(landmarks=60))
    prepare_folder(tmp_path, recipe)
    (tmp_path / STATE).touch()
    (tmp_path / CHECKPOINT).touch()
    assert is_finished(tmp_path, recipe)
    assert not is_finished(tmp_path, other)
    assert as_begun(tmp_path, other) == other
    assert prepare_folder(tmp_path, other) == tmp_path / STATE
    text = (tmp_path / RECIPE).read_text(encoding='utf-8')
    older = text.replace('map:\n  landmarks: 60\n', '')
    assert older != text
    (tmp_path / RECIPE).write_text(older, encoding='utf-8')
    assert is_finished(tmp_path, recipe)
    assert is_finished(tmp_path, other)
    assert as_begun(tmp_path, recipe) == recipe
    assert prepare_folder(tmp_path, recipe) == tmp_path / STATE
