"""CUDA graphs: what can be seen without a GPU, and on a GPU that what is captured is right.

Where there is no CUDA device the latter are skipped. On one, this file is the check of the
runtime: `pytest test/core/runtimes/test_cuda_graph.py`.
"""

import itertools

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.runtimes import agreement
from implicit_loc.runtimes.base import Task
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.half_precision import half_precision_copy

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='there is no CUDA device')

HEIGHT = 60
CAMERA = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
WIDE = Camera(200, 120, 131.0, 131.0, 99.5, 59.5)


def _network(camera_output: str = 'depth') -> SceneNetwork:
    torch.manual_seed(0)
    layout = NetworkConfig(decoder_channels=16, landmarks=3, camera_output=camera_output)
    return SceneNetwork(layout).eval()


def _image(camera: Camera, seed: int) -> np.ndarray:
    shape = (camera.height, camera.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _runtime() -> CudaGraphRuntime:
    network = _network()
    return CudaGraphRuntime(Task(network, _network(), HEIGHT, torch.device('cuda:0'), 1))


def _expected(image: np.ndarray, camera: Camera) -> agreement.Geometry:
    host = _network()
    runtime = EagerRuntime(Task(host, host, HEIGHT, torch.device('cpu'), 1))
    return runtime.predict(image, camera)[0]


@pytest.mark.parametrize('camera_output', ['depth', 'points'])
@pytest.mark.parametrize('camera', [CAMERA, WIDE])
def test_what_is_captured_never_waits_for_the_host(camera_output: str, camera: Camera) -> None:
    """On a GPU that is only pretended: there, numbers cannot be read, nor devices be mixed."""
    resized = preprocessing.input_camera(camera, HEIGHT)
    module = DeviceNetwork(half_precision_copy(_network(camera_output)), camera, resized)
    state = dict(itertools.chain(module.named_parameters(), module.named_buffers()))
    with FakeTensorMode(), torch.inference_mode():
        pretended = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device='cuda')
            for name, tensor in state.items()
        }
        upload = torch.empty(module.upload_bytes, dtype=torch.uint8, device='cuda')
        packed = torch.func.functional_call(module, pretended, (upload,))
    assert packed.device.type == 'cuda'
    assert packed.dtype == torch.float32
    assert packed.numel() == sum(int(np.prod(shape)) for shape in module.shapes.values())


@needs_gpu
def test_a_graph_predicts_what_the_host_would() -> None:
    """Captured on one image, replayed on others, none of which overwrites an earlier answer."""
    runtime = _runtime()
    runtime.prepare(CAMERA)
    assert 'CUDA graph on cuda:0' in runtime.status.name
    assert runtime.status.note == ''
    images = [_image(CAMERA, seed) for seed in range(3)]
    found = [runtime.predict(image, CAMERA)[0] for image in images]
    for image, geometry in zip(images, found, strict=True):
        differences = agreement.difference(geometry, _expected(image, CAMERA))
        assert differences.keys() >= {'world_points', 'depth', 'weights', 'descriptors'}
        assert max(differences.values()) < agreement.HALF_PRECISION


@needs_gpu
def test_sizes_change_in_flight_and_back() -> None:
    """An unannounced size is answered at once, and by a graph after the next `settle`."""
    runtime = _runtime()
    runtime.prepare(CAMERA)
    for camera, graph in ((WIDE, False), (CAMERA, True), (WIDE, False)):
        geometry, _ = runtime.predict(_image(camera, 1), camera)
        assert ('CUDA graph' in runtime.status.name) == graph
        expected = _expected(_image(camera, 1), camera)
        assert max(agreement.difference(geometry, expected).values()) < agreement.HALF_PRECISION
    runtime.settle()
    runtime.predict(_image(WIDE, 2), WIDE)
    assert 'CUDA graph' in runtime.status.name


@needs_gpu
def test_another_focal_length_needs_no_other_graph() -> None:
    runtime = _runtime()
    runtime.prepare(CAMERA)
    longer = Camera(160, 120, 262.0, 262.0, 79.5, 59.5)
    near, far = (runtime.predict(_image(CAMERA, 3), each)[0].depth for each in (CAMERA, longer))
    assert 'CUDA graph' in runtime.status.name
    np.testing.assert_allclose(far, 2 * near, rtol=1e-5)


@needs_gpu
def test_images_take_no_memory_of_the_gpu() -> None:
    runtime = _runtime()
    runtime.prepare(CAMERA)
    runtime.predict(_image(CAMERA, 0), CAMERA)
    before = torch.cuda.memory_allocated()
    for seed in range(20):
        runtime.predict(_image(CAMERA, seed), CAMERA)
    assert torch.cuda.memory_allocated() == before
