"""What tests of ONNX Runtime share: a checkpoint with its export, made once."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.network import SceneNetwork
from implicit_loc.runtimes import RuntimeUnavailableError, onnx_export
from implicit_loc.runtimes.base import Task
from implicit_loc.runtimes.onnx_files import ExportKey

if TYPE_CHECKING:
    from implicit_loc.runtimes.onnx_runtime import OnnxRuntime


@dataclass(frozen=True)
class Exported:
    """A checkpoint with its export beside it.

    Attributes:
        checkpoint: of an untrained network.
        file: its export, for images of the camera.
        camera: 64 x 48 pixels, the size of the network's input.
        image: of it, noise.
        name: of the runtime that uses the export.
    """

    checkpoint: Path
    file: Path
    camera: Camera
    image: NDArray[np.uint8]
    name: str

    def task(self) -> Task:
        """With weights of its own."""
        network = load_checkpoint(self.checkpoint)[0]
        cpu = torch.device('cpu')
        return Task(network, network, self.camera.height, cpu, 1, self.checkpoint)

    def runtime(self) -> 'OnnxRuntime':
        """One that has seen no image yet."""
        from implicit_loc.runtimes.onnx_runtime import OnnxRuntime

        return OnnxRuntime(self.task())


@pytest.fixture(scope='session')
def kept(checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Not to be changed: exporting takes ten seconds."""
    for package in ('onnxruntime', 'onnx', 'onnxscript'):
        pytest.importorskip(package, reason=f'{package}, an optional dependency, is missing')
    import onnxruntime

    checkpoint = tmp_path_factory.mktemp('kept') / 'map.safetensors'
    shutil.copy(checkpoint_path, checkpoint)
    exported = Exported(
        checkpoint,
        checkpoint.with_name('map.64x48.onnx'),
        Camera(64, 48, 60.0, 60.0, 31.5, 23.5),
        np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8),
        f'onnxruntime {onnxruntime.__version__} CPUExecutionProvider, 1 thread',
    )
    runtime = exported.runtime()
    runtime.prepare(exported.camera)
    assert runtime.status.note == ''
    assert runtime.status.name == exported.name
    return exported


@pytest.fixture
def copied(kept: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A copy to spoil, without an exporter and with an empty cache folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(onnx_export, 'NEEDED', ('onnx_exporter_that_is_not_there',))
    return Exported(
        shutil.copy(kept.checkpoint, tmp_path / 'map.safetensors'),
        shutil.copy(kept.file, tmp_path / 'map.64x48.onnx'),
        kept.camera,
        kept.image,
        kept.name,
    )


@pytest.fixture
def double_weights() -> Callable[[Path], None]:
    """Makes an ONNX file predict something else."""
    onnx = pytest.importorskip('onnx', reason='onnx, an optional dependency, is missing')

    def change(path: Path) -> None:
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                values = 2 * onnx.numpy_helper.to_array(tensor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, path)

    return change


class _Finished:
    """An export that has just ended.

    Args:
        content: of the file, or the reason why there is none.
    """

    finished = True

    def __init__(self, content: bytes | str) -> None:
        self._content = content

    def result(self) -> bytes:
        if isinstance(self._content, str):
            raise RuntimeUnavailableError(self._content)
        return self._content


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes | str], list[int]]:
    """`exports(content)`: every export ends at once; gives the widths that are asked for."""

    def begin(content: bytes | str) -> list[int]:
        monkeypatch.setattr(onnx_export, 'NEEDED', ())
        asked: list[int] = []

        def start(network: SceneNetwork, key: ExportKey, niceness: int) -> _Finished:
            asked.append(key.width)
            return _Finished(content)

        monkeypatch.setattr('implicit_loc.runtimes.onnx_runtime.Export', start)
        return asked

    return begin
