"""CUDA graphs: what can be seen without a GPU, and on a GPU that what is captured is right.

Where there is no CUDA device the latter are skipped. On one, this file is the check of the
runtime: `pytest test/core/runtimes/test_cuda_graph.py`.
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from implicit_loc import preprocessing
from implicit_loc.arrays import Constant
from implicit_loc.camera import Camera
from implicit_loc.device_solving import DeviceSolver
from implicit_loc.landmark_alignment import WIDE_SEARCH
from implicit_loc.localizer import landmarks_on_host
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.runtimes import agreement
from implicit_loc.runtimes.base import Solving, Task
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.half_precision import half_precision_copy

HEIGHT = 60
CAMERA = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
WIDE = Camera(200, 120, 131.0, 131.0, 99.5, 59.5)
BENT = Camera(160, 120, 131.0, 131.0, 79.5, 59.5, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0))
FISHEYE = Camera(160, 120, 75.0, 75.0, 79.5, 59.5, 'equidistant', (0.02, -0.01, 0.0, 0.0))


def _network(camera_output: str = 'depth', landmarks: int = 40) -> SceneNetwork:
    torch.manual_seed(0)
    layout = NetworkConfig(decoder_channels=16, landmarks=landmarks, camera_output=camera_output)
    return SceneNetwork(layout).eval()


def _image(camera: Camera, seed: int) -> np.ndarray:
    shape = (camera.height, camera.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _runtime() -> CudaGraphRuntime:
    network, device = _network(), torch.device('cuda:0')
    solving = Solving(landmarks_on_host(network))
    return CudaGraphRuntime(Task(network, _network(), HEIGHT, device, 1, solving=solving))


def _expected(image: np.ndarray, camera: Camera) -> agreement.Geometry:
    host = _network()
    runtime = EagerRuntime(Task(host, host, HEIGHT, torch.device('cpu'), 1))
    return runtime.predict(image, camera).geometry


def _module(camera: Camera, network: SceneNetwork) -> DeviceNetwork:
    """What is captured."""
    resized = preprocessing.input_camera(camera, HEIGHT)
    solver = DeviceSolver(resized, network.config.stride, landmarks_on_host(network))
    return DeviceNetwork(half_precision_copy(network), camera, resized, solver)


class _Watching(TorchDispatchMode):
    """Collects what a capture may refuse: cuSOLVER's calls, and numbers from the host."""

    # Kernels of PyTorch's own.
    _ELEMENTWISE = ('linalg_cross', 'linalg_vector_norm')
    _SOLVERS = ('linalg', 'cholesky', 'lu_', 'triangular', 'svd', 'inverse', 'lstsq', 'geqrf')
    _WAITING = ('_local_scalar_dense', 'item', 'nonzero', 'masked_select', 'is_nonzero')
    # Of a number, which becomes an argument of the kernel.
    _FROM_HOST = ('lift_fresh', 'device', 'fill_')

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()
        self.refused: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.name().split('::')[1].split('.')[0]
        found = function(*args, **(kwargs or {}))
        self.called.add(name)
        plain = name.removeprefix('_')
        if plain.startswith(self._SOLVERS) and name not in self._ELEMENTWISE:
            self.refused.add(name)
        if name in self._WAITING:
            self.refused.add(name)
        tensors = [leaf for leaf in tree_leaves((args, kwargs, found)) if torch.is_tensor(leaf)]
        if name not in self._FROM_HOST and any(each.device.type == 'cpu' for each in tensors):
            self.refused.add(f'{name} on the host')
        return found


def _remembered(constant: Constant, like: Any, model: torch.Tensor) -> torch.Tensor:
    """Numbers as they lie on the device after a first run."""
    shape = like(constant, np.zeros(0)).shape
    return torch.empty(shape, dtype=model.dtype, device=model.device)


def _on_pretended_gpu(module: DeviceNetwork) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Call it within FakeTensorMode."""
    state = itertools.chain(module.named_parameters(), module.named_buffers())
    pretended = {
        name: torch.empty(tensor.shape, dtype=tensor.dtype, device='cuda')
        for name, tensor in state
    }
    upload = torch.empty(module.upload_bytes, dtype=torch.uint8, device='cuda')
    return torch.func.functional_call(module, pretended, (upload,))


@pytest.mark.parametrize(
    ('camera', 'camera_output', 'landmarks'),
    [
        (CAMERA, 'depth', 40),
        (WIDE, 'points', 0),
        (BENT, 'points', 40),
        (FISHEYE, 'depth', 40),
    ],
)
def test_what_is_captured_never_waits_for_the_host(
    monkeypatch: pytest.MonkeyPatch, camera: Camera, camera_output: str, landmarks: int
) -> None:
    """On a GPU that is only pretended: there, numbers cannot be read, nor devices be mixed.

    From the bytes of the image to the numbers that pose, covariance and confidence follow from.
    """
    module = _module(camera, _network(camera_output, landmarks))
    monkeypatch.setattr(Constant, 'like', partialmethod(_remembered, Constant.like))
    with FakeTensorMode(), torch.no_grad(), _Watching() as watching:
        packed, descriptors = _on_pretended_gpu(module)
    assert watching.refused == set()
    assert {'bmm', 'convolution', 'addcmul'} <= watching.called
    assert packed.device.type == 'cuda'
    assert packed.dtype == torch.float32
    assert (descriptors is None) == (landmarks == 0)
    geometry, parts = module.read(np.zeros(packed.shape, np.float32))
    rows, columns = geometry.depth.shape
    assert (rows, columns) == (-(-HEIGHT // 8), -(-HEIGHT * camera.width // camera.height // 8))
    assert parts is not None
    assert parts.gradients.shape == (48, 6)
    assert len(parts.found) == (0 if landmarks == 0 else WIDE_SEARCH.most)


@pytest.mark.parametrize(
    ('spoilt', 'refused'),
    [
        (lambda found: torch.linalg.solve(found, found), 'linalg_solve_ex'),
        (torch.linalg.svdvals, 'linalg_svd'),
        (torch.linalg.eigvalsh, 'linalg_eigh'),
        (torch.cholesky_inverse, 'cholesky_inverse'),
        (lambda found: found + torch.ones(6, 6).to('cuda'), 'to_copy on the host'),
    ],
)
def test_what_a_capture_may_refuse_is_noticed(spoilt: Any, refused: str) -> None:
    """As in the test above."""
    with FakeTensorMode(), torch.no_grad():
        matrix = torch.empty(6, 6, device='cuda')
        with _Watching() as watching:
            spoilt(matrix)
    assert any(refused in name for name in watching.refused)


@pytest.mark.needs_gpu
def test_a_graph_predicts_what_the_host_would() -> None:
    """Captured on one image, replayed on others, none of which overwrites an earlier answer."""
    runtime = _runtime()
    runtime.prepare(CAMERA)
    assert 'CUDA graph on cuda:0' in runtime.status.name
    assert runtime.status.note == ''
    images = [_image(CAMERA, seed) for seed in range(3)]
    found = [runtime.predict(image, CAMERA).geometry for image in images]
    for image, geometry in zip(images, found, strict=True):
        differences = agreement.difference(geometry, _expected(image, CAMERA))
        assert differences.keys() >= {'world_points', 'depth', 'weights', 'descriptors'}
        assert max(differences.values()) < agreement.HALF_PRECISION


@pytest.mark.needs_gpu
def test_sizes_change_in_flight_and_back() -> None:
    """An unannounced size is answered at once, and by a graph after the next `settle`."""
    runtime = _runtime()
    runtime.prepare(CAMERA)
    for camera, graph in ((WIDE, False), (CAMERA, True), (WIDE, False)):
        geometry = runtime.predict(_image(camera, 1), camera).geometry
        assert ('CUDA graph' in runtime.status.name) == graph
        expected = _expected(_image(camera, 1), camera)
        assert max(agreement.difference(geometry, expected).values()) < agreement.HALF_PRECISION
    runtime.settle()
    runtime.predict(_image(WIDE, 2), WIDE)
    assert 'CUDA graph' in runtime.status.name


@pytest.mark.needs_gpu
def test_another_focal_length_needs_no_other_graph() -> None:
    runtime = _runtime()
    runtime.prepare(CAMERA)
    longer = Camera(160, 120, 262.0, 262.0, 79.5, 59.5)
    image = _image(CAMERA, 3)
    near, far = (runtime.predict(image, each).geometry.depth for each in (CAMERA, longer))
    assert 'CUDA graph' in runtime.status.name
    np.testing.assert_allclose(far, 2 * near, rtol=1e-5)


@pytest.mark.needs_gpu
def test_images_take_no_memory_of_the_gpu() -> None:
    runtime = _runtime()
    runtime.prepare(CAMERA)
    runtime.predict(_image(CAMERA, 0), CAMERA)
    before = torch.cuda.memory_allocated()
    for seed in range(20):
        runtime.predict(_image(CAMERA, seed), CAMERA)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.needs_gpu
def test_sizes_beyond_the_fourth_take_the_place_of_the_oldest() -> None:
    """With its memory; the image at hand is answered by a graph of its own size."""
    runtime = _runtime()
    cameras = [Camera(w, 120, 131.0, 131.0, (w - 1) / 2, 59.5) for w in range(152, 184, 4)]
    reserved = []
    for camera in cameras:
        runtime.prepare(camera)
        geometry = runtime.predict(_image(camera, 4), camera, solved=True).geometry
        assert 'CUDA graph' in runtime.status.name
        difference = agreement.difference(geometry, _expected(_image(camera, 4), camera))
        difference.pop('descriptors', None)
        assert max(difference.values()) < agreement.HALF_PRECISION
        torch.cuda.empty_cache()
        reserved.append(torch.cuda.memory_reserved())
    assert reserved[-1] < 1.5 * reserved[3]
    runtime.predict(_image(cameras[0], 5), cameras[0])
    assert 'eager' in runtime.status.name


@pytest.mark.needs_gpu
def test_masked_images_get_a_graph_that_predicts_the_same() -> None:
    runtime = _runtime()
    runtime.prepare(CAMERA)
    image = _image(CAMERA, 6)
    first = runtime.predict(image, CAMERA).geometry
    runtime.settle()
    second = runtime.predict(image, CAMERA).geometry
    assert len(runtime._graphs) == 2
    assert max(agreement.difference(second, first).values()) < agreement.HALF_PRECISION


@pytest.mark.needs_gpu
def test_two_threads_with_a_runtime_each_do_not_disturb_each_other() -> None:
    """Neither while they capture nor afterwards."""

    def work(runtime: CudaGraphRuntime, camera: Camera, seed: int) -> list[agreement.Geometry]:
        found = []
        for each in (camera, WIDE):
            runtime.prepare(each)
            assert 'CUDA graph' in runtime.status.name
            found += [runtime.predict(_image(each, seed), each).geometry for _ in range(50)]
        return found

    given = ((_runtime(), CAMERA, 7), (_runtime(), BENT, 8))
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(work, *each) for each in given]
        for task, (_, camera, seed) in zip(tasks, given, strict=True):
            found = task.result(timeout=120)
            for each, geometries in ((camera, found[:50]), (WIDE, found[50:])):
                expected = _expected(_image(each, seed), each)
                for geometry in geometries:
                    differences = agreement.difference(geometry, expected)
                    assert max(differences.values()) < agreement.HALF_PRECISION
