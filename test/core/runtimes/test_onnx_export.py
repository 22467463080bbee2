"""The process that exports: it ends with whoever asked, and one is enough for all."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.runtimes import RuntimeUnavailableError, onnx_export, onnx_turn
from implicit_loc.runtimes.onnx_files import ExportKey
from implicit_loc.runtimes.onnx_turn import ExportTurn

if TYPE_CHECKING:
    from conftest import Exported

# Of a busy machine that imports PyTorch.
_LIMIT_S = 120.0


@pytest.fixture
def begin(
    checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], onnx_export.Export]:
    """Starts a process that exports."""
    monkeypatch.setattr(onnx_export, 'NEEDED', ())
    network = load_checkpoint(checkpoint_path)[0]
    return lambda: onnx_export.Export(network, ExportKey('f' * 64, 64, 48))


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_an_export_that_is_killed_half_way_says_so_and_leaves_nothing(
    begin: Callable[[], onnx_export.Export], number: signal.Signals
) -> None:
    export = begin()
    folder = Path(export._folder.name)
    assert folder.is_dir()
    time.sleep(0.2)
    os.kill(export._process.pid, number)
    with pytest.raises(RuntimeUnavailableError, match=f'ended with status {-number}'):
        export.result()
    assert not folder.exists()


def test_an_export_that_nobody_waits_for_ends(begin: Callable[[], onnx_export.Export]) -> None:
    export = begin()
    process, folder = export._process, Path(export._folder.name)
    del export
    assert process.poll() is not None
    assert not folder.exists()


def test_a_process_that_cannot_export_gives_its_last_line_as_the_reason(
    begin: Callable[[], onnx_export.Export], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, '_PROGRAM', 'implicit_loc.no_such_program')
    with pytest.raises(RuntimeUnavailableError, match=r'failed: .*No module named implicit_loc'):
        begin().result()


def test_no_export_outlives_who_asked_for_it(begin: Callable[[], onnx_export.Export]) -> None:
    """Not even one that was killed and could not end it: its end of the pipe closes, too."""
    export = begin()
    assert export._process.stdin is not None
    export._process.stdin.close()
    assert export._process.wait(_LIMIT_S) == 1
    assert not Path(export._folder.name).exists()


def test_a_second_process_takes_what_the_first_exports(
    copied: 'Exported', exports: Callable[[bytes | str], list[int]]
) -> None:
    """Meanwhile its images are answered; it exports itself only where nothing was kept."""
    content = copied.file.read_bytes()
    copied.file.unlink()
    asked = exports(content)
    first, second = copied.runtime(), copied.runtime()
    for runtime in (first, second):
        runtime.prepare(copied.camera, export=False)
    first.settle()
    for _ in range(3):
        second.predict(copied.image, copied.camera)
        second.settle()
    assert asked == [64]
    assert 'eager' in second.status.name
    first.settle()
    second.settle()
    assert asked == [64]
    assert first.status.name == second.status.name == copied.name


def test_who_waits_for_an_export_gets_that_of_another_process(
    copied: 'Exported',
    exports: Callable[[bytes | str], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = copied.file.read_bytes()
    copied.file.unlink()
    asked = exports(content)
    first, second = copied.runtime(), copied.runtime()
    first.prepare(copied.camera, export=False)
    first.settle()
    monkeypatch.setattr(onnx_turn.time, 'sleep', lambda _: first.settle())
    second.prepare(copied.camera)
    assert asked == [64]
    assert second.status.name == copied.name


def test_a_turn_is_taken_by_one_and_over_for_who_lets_it_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its end, with its object, or when somebody sits on it; no file is left by it."""
    checkpoint = tmp_path / 'map.safetensors'
    checkpoint.touch()
    first, second, third = (ExportTurn(checkpoint) for _ in range(3))
    assert first.take()
    assert not second.take()
    assert not third.take()
    first.end()
    assert second.take()
    assert not third.take()
    del second
    assert third.take()
    monkeypatch.setattr(onnx_turn, '_PATIENCE_S', 0.0)
    assert ExportTurn(checkpoint).take()
    assert ExportTurn(tmp_path / 'nothing').take()
    assert ExportTurn(None).take()
    assert list(tmp_path.iterdir()) == [checkpoint]
