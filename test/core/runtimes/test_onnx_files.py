"""Which exported files are believed, and where they are kept."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from implicit_loc.network import SceneNetwork
from implicit_loc.runtimes import onnx_files
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.onnx_files import ExportKey
from implicit_loc.runtimes.onnx_runtime import OnnxRuntime

if TYPE_CHECKING:
    from conftest import Exported

KEY = ExportKey('f' * 64, 64, 48)


def _import_onnx() -> Any:
    return pytest.importorskip('onnx', reason='onnx, an optional dependency, is missing')


def test_an_export_is_used_without_the_exporter(copied: 'Exported') -> None:
    runtime = copied.runtime()
    runtime.predict(copied.image, copied.camera)
    assert runtime.status.name == copied.name


def test_an_export_says_in_its_metadata_to_what_it_belongs(kept: 'Exported') -> None:
    found = {entry.key: entry.value for entry in _import_onnx().load(kept.file).metadata_props}
    key = ExportKey(onnx_files.fingerprint(kept.task().network), 64, 48)
    assert found.items() >= key.metadata().items()


def test_an_export_of_other_versions_is_used(copied: 'Exported') -> None:
    """A robot brings the file along, and has another build of PyTorch."""
    _entry('exporter', 'implicit_loc 0.0.1, torch 1.13')(copied.file)
    runtime = copied.runtime()
    runtime.predict(copied.image, copied.camera)
    assert runtime.status.name == copied.name


def _entry(name: str, value: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        model = _import_onnx().load(path)
        for entry in model.metadata_props:
            if entry.key == f'implicit_loc.{name}':
                entry.value = value
        _import_onnx().save(model, path)

    return change


SPOILERS: dict[str, Callable[[Path], object]] = {
    'foreign': _entry('network', '0' * 64),
    'of another size': _entry('input', '64x64'),
    'stale': _entry('format', '0'),
    'truncated': lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('no ONNX file'),
    'folder': lambda path: (path.unlink(), path.mkdir()),
    'missing': lambda path: path.unlink(),
    'other weights': lambda path: None,
}


@pytest.mark.parametrize('kind', SPOILERS)
def test_a_file_that_is_not_this_networks_export_is_never_used(
    copied: 'Exported', kind: str, double_weights: Callable[[Path], None]
) -> None:
    """Nor does a missing exporter take the images away."""
    SPOILERS[kind](copied.file)
    if kind == 'other weights':
        double_weights(copied.file)
    runtime, eager = copied.runtime(), EagerRuntime(copied.task())
    found = runtime.predict(copied.image, copied.camera).geometry
    expected = eager.predict(copied.image, copied.camera).geometry
    np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-5)
    assert 'eager on cpu' in runtime.status.name
    assert 'not been exported to ONNX for 64x48 pixels yet' in runtime.status.note
    runtime.prepare(copied.camera)
    assert 'needs onnx_exporter_that_is_not_there: pip install' in runtime.status.note
    runtime.predict(copied.image, copied.camera)


def test_a_map_that_is_trained_anew_under_the_same_name_needs_a_new_export(
    copied: 'Exported',
) -> None:
    task = copied.task()
    with torch.no_grad():
        next(task.network.parameters()).mul_(1.1)
    runtime = OnnxRuntime(task)
    runtime.predict(copied.image, copied.camera)
    assert 'eager on cpu' in runtime.status.name


def test_the_fingerprint_is_of_layout_and_weights(untrained_network: SceneNetwork) -> None:
    expected = onnx_files.fingerprint(untrained_network)
    other = SceneNetwork(replace(untrained_network.config, far=11.0)).eval()
    other.load_state_dict(untrained_network.state_dict())
    assert onnx_files.fingerprint(other) != expected
    other.config = untrained_network.config
    assert onnx_files.fingerprint(other) == expected
    other.to(memory_format=torch.channels_last)
    assert onnx_files.fingerprint(other) == expected


def test_an_export_goes_where_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next to the checkpoint, else to the user's cache folder, else nowhere, with the reason."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    blocked = tmp_path / 'file'
    blocked.touch()
    assert onnx_files.keep(b'export', onnx_files.places(KEY, tmp_path / 'map.safetensors')) == ''
    assert (tmp_path / 'map.64x48.onnx').read_bytes() == b'export'
    assert onnx_files.keep(b'export', onnx_files.places(KEY, blocked / 'map.safetensors')) == ''
    cached = tmp_path / 'cache' / 'implicit_loc' / f'{"f" * 32}.64x48.onnx'
    assert cached.read_bytes() == b'export'
    monkeypatch.setenv('XDG_CACHE_HOME', str(blocked))
    reason = onnx_files.keep(b'export', onnx_files.places(KEY, blocked / 'map.safetensors'))
    assert reason.startswith('the exported network is not kept: ')
    assert reason.count('cannot be written') == 2
    assert not list(tmp_path.rglob('*.part'))


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    old, young = (tmp_path / f'.map.64x48.onnx.{pid}.1.part' for pid in (7, 8))
    other = tmp_path / '.other.64x48.onnx.7.1.part'
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    onnx_files.keep(b'export', iter([tmp_path / 'map.64x48.onnx']))
    assert sorted(tmp_path.iterdir()) == sorted([young, other, tmp_path / 'map.64x48.onnx'])


def test_an_export_that_cannot_be_kept_is_used_all_the_same(
    copied: 'Exported',
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exports: Callable[[bytes | str], list[int]],
) -> None:
    blocked = tmp_path / 'file'
    blocked.touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(blocked))
    exports(copied.file.read_bytes())
    runtime = OnnxRuntime(replace(copied.task(), checkpoint=blocked / 'map.safetensors'))
    runtime.prepare(copied.camera)
    assert runtime.status.name == copied.name
    assert 'is not kept' in runtime.status.note
