"""What becomes of a graph's memory on the host, on a GPU that is only pretended."""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc.runtimes import RuntimeUnavailableError
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime

if TYPE_CHECKING:
    from conftest import GraphOnHost, Scene

GONE = 'CUDA error: device-side assert triggered'
CAMERA = Camera(320, 240, 263.0, 263.0, 159.5, 119.5)
OTHER = Camera(324, 243, 263.0, 263.0, 161.5, 121.0)
IMAGE = np.zeros((240, 320, 3), np.uint8)


@pytest.mark.parametrize('failing', ['nowhere', 'run', 'capture'])
def test_pinned_memory_of_a_device_that_has_failed_is_never_freed(
    make_scene: Callable[..., 'Scene'],
    runtime_of: Callable[['Scene'], CudaGraphRuntime],
    pretended: type['GraphOnHost'],
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
) -> None:
    """Freeing it would end the process; that of a device in order goes with its graph."""

    def failed(*_: Any, **__: Any) -> None:
        raise RuntimeError(GONE)

    runtime = runtime_of(make_scene())
    runtime.prepare(CAMERA)
    if failing == 'capture':
        pretended.refused |= dict.fromkeys((True, False), GONE)
        runtime.prepare(OTHER)
    elif failing == 'run':
        monkeypatch.setattr(pretended, 'run', failed)
        runtime.prepare(OTHER)
        with pytest.raises(RuntimeUnavailableError, match='device-side assert'):
            runtime.predict(IMAGE, CAMERA)
    del runtime
    gc.collect()
    count = {'nowhere': 1, 'run': 2, 'capture': 3}[failing]
    kept = [memory() is not None for memory in pretended.pinned]
    assert kept == count * [failing != 'nowhere']
