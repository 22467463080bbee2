"""What is a failure of a GPU, and what its cause; on a GPU, that failing costs no image.

Where there is no CUDA device the latter is skipped.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.device_solving import DeviceSolver
from implicit_loc.localizer import landmarks_on_host
from implicit_loc.network import NetworkConfig, SceneGeometry, SceneNetwork
from implicit_loc.runtimes import RuntimeUnavailableError, Solving, cuda_graph
from implicit_loc.runtimes.base import Task
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.device_failures import DeviceMemoryError, device_failures

CUDA = torch.device('cuda:0')
CAMERA = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
ROOT = Path(__file__).resolve().parents[3]

# A graph is captured and used, then the GPU fails for this process and all that it does later.
_ON_A_GPU_THAT_FAILS = """
import numpy as np
import torch
from implicit_loc.camera import Camera
from implicit_loc.localizer import landmarks_on_host
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.runtimes import Execution, Solving

network = SceneNetwork(NetworkConfig(decoder_channels=16, landmarks=40)).eval()
camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
image = np.zeros((120, 160, 3), np.uint8)
solving = Solving(landmarks_on_host(network))
execution = Execution(network, 60, torch.device('cuda:0'), 'cuda_graph', solving=solving)
execution.prepare(camera)
execution.predict(image, camera, solved=True)
assert 'CUDA graph' in execution.status.name, execution.status
try:
    torch.zeros(2, device='cuda')[torch.tensor([5], device='cuda')]
    torch.cuda.synchronize()
except RuntimeError:
    pass
found = execution.predict(image, camera, solved=True)
assert np.isfinite(found.geometry.depth).all()
print(execution.status.name)
"""


def _fails(text: str, device: torch.device = CUDA) -> None:
    with device_failures(device):
        raise RuntimeError(text)


def _while_handling(text: str, call: Callable[[], None]) -> None:
    try:
        raise RuntimeError(text)
    except RuntimeError:
        call()


def _capture_that_fails() -> None:
    with device_failures(CUDA):
        try:
            raise RuntimeError('CUDA error: not permitted when stream is capturing\nCompile ...')
        finally:
            raise RuntimeError('CUDA error: failed due to a previous error during capture')


@pytest.mark.parametrize(
    ('text', 'kind'),
    [
        ('CUDA out of memory. Tried to allocate 2 GiB', DeviceMemoryError),
        ('CUDA error: out of memory\nCompile with ...', DeviceMemoryError),
        ('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling ...', DeviceMemoryError),
        ('FIND was unable to find an engine to execute this computation', DeviceMemoryError),
        ('GET was unable to find an engine to execute this computation', DeviceMemoryError),
        ('cuDNN error: NOT_INITIALIZED', RuntimeUnavailableError),
        ('CUDA error: device-side assert triggered', RuntimeUnavailableError),
    ],
)
def test_failures_of_the_device_let_another_runtime_take_over(
    text: str, kind: type[RuntimeUnavailableError]
) -> None:
    with pytest.raises(RuntimeUnavailableError, match='cuda:0 failed') as failure:
        _fails(text)
    assert type(failure.value) is kind


@pytest.mark.parametrize('device', [CUDA, torch.device('cpu')])
def test_a_defect_keeps_its_traceback(device: torch.device) -> None:
    """Whatever is being handled meanwhile."""
    with pytest.raises(RuntimeError, match='sizes differ'):
        _while_handling('CUDA error: out of memory', lambda: _fails('sizes differ', device))
    with pytest.raises(RuntimeError, match=r'^$'):
        _fails('', device)


def test_the_failure_is_named_that_led_to_the_others() -> None:
    """Of a capture, PyTorch raises what its end makes of it."""
    with pytest.raises(RuntimeUnavailableError) as failure:
        _capture_that_fails()
    assert str(failure.value) == (
        'cuda:0 failed (CUDA error: not permitted when stream is capturing)'
    )


def test_a_failure_is_not_named_after_one_that_is_being_handled() -> None:
    """As when the next best runtime is made because one has failed."""
    with pytest.raises(RuntimeUnavailableError, match=r'^cuda:0 failed \(CUDA error: gone\)$'):
        _while_handling('CUDA out of memory', lambda: _fails('CUDA error: gone'))


class _Waiting(DeviceSolver):
    """Asks the device for a number, which a capture refuses."""

    def forward(self, geometry: SceneGeometry[torch.Tensor]) -> Any:
        """As any other."""
        geometry.depth.sum().item()
        return super().forward(geometry)


@pytest.mark.needs_gpu
def test_where_solving_waits_for_the_host_the_prediction_alone_is_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The status names what was refused, and PyTorch works on the stream as before."""
    monkeypatch.setattr(cuda_graph, 'DeviceSolver', _Waiting)
    torch.manual_seed(0)
    networks = [SceneNetwork(NetworkConfig(decoder_channels=16)).eval() for _ in range(2)]
    solving = Solving(landmarks_on_host(networks[1]))
    runtime = CudaGraphRuntime(Task(networks[0], networks[1], 60, CUDA, 1, solving=solving))
    before = torch.cuda.current_stream()
    runtime.prepare(CAMERA)
    assert torch.cuda.current_stream() == before
    assert 'CUDA graph' in runtime.status.name
    assert runtime.status.note.startswith('the CPU solves for the poses: in a CUDA graph')
    assert 'not permitted' in runtime.status.note
    found = runtime.predict(IMAGE, CAMERA, solved=True)
    assert found.outcome is None
    assert np.isfinite(found.geometry.depth).all()


@pytest.mark.needs_gpu
def test_a_gpu_that_disappears_costs_neither_image_nor_process() -> None:
    """The same process answers on the CPU, and ends well."""
    done = subprocess.run(
        [sys.executable, '-c', _ON_A_GPU_THAT_FAILS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'cpu' in done.stdout.lower()
