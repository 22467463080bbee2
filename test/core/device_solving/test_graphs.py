"""Which graph executes an image, and who solves for its pose: on a GPU that is only pretended.

What would be captured runs on the CPU instead, operation by operation.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.device_solving import Outcome
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import Execution, Solving, cuda_graph
from implicit_loc.runtimes.base import Task, on_host
from implicit_loc.runtimes.captured_graph import CapturedGraph
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.eager import EagerRuntime

if TYPE_CHECKING:
    from conftest import Scene

MakeScene = Callable[..., 'Scene']
NetworkOf = Callable[['Scene'], Any]

CUDA = torch.device('cuda:0')
REFUSED = 'CUDA error: operation not permitted when stream is capturing\nCompile with ...'
CAMERA = Camera(320, 240, 263.0, 263.0, 159.5, 119.5)


class _OnHost(CapturedGraph):
    """Computes anew what a graph would replay; its captures are counted, and can fail."""

    captured: ClassVar[list[bool]]
    refused: ClassVar[dict[bool, str]]

    def __init__(self, module: DeviceNetwork, camera: Camera, device: torch.device) -> None:
        assert device == CUDA
        super().__init__(module, camera, torch.device('cpu'))

    def _capture(self) -> None:
        self.captured.append(self.solves)
        if self.solves in self.refused:
            raise RuntimeError(self.refused[self.solves])
        self._upload = torch.zeros(self._module.upload_bytes, dtype=torch.uint8)
        self._on_device = torch.empty_like(self._upload)
        self._replay()
        if self._descriptors is not None:
            self._descriptor_download = torch.empty(self._descriptors.shape)

    def _replay(self) -> None:
        with torch.inference_mode():
            self._download, self._descriptors = self._compute()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> type[_OnHost]:
    """The captures so far, and what refuses the next ones."""

    def staying(network: Any) -> Any:
        # Parameters that the CPU can read, wherever it is told to go.
        network.to = lambda *_, **__: network
        return network

    monkeypatch.setattr(_OnHost, 'captured', [], raising=False)
    monkeypatch.setattr(_OnHost, 'refused', {}, raising=False)
    monkeypatch.setattr(cuda_graph, 'CapturedGraph', _OnHost)
    monkeypatch.setattr(cuda_graph, 'EagerRuntime', lambda task: EagerRuntime(on_host(task)))
    monkeypatch.setattr(cuda_graph, 'half_precision_copy', staying)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'pretended GPU')
    return _OnHost


RuntimeOf = Callable[['Scene'], CudaGraphRuntime]


@pytest.fixture
def runtime_of(pretended: type[_OnHost], network_of: NetworkOf) -> RuntimeOf:
    """`runtime_of(scene)`: sees the scene in every image."""

    def make(scene: 'Scene') -> CudaGraphRuntime:
        networks = network_of(scene), network_of(scene)
        solving = Solving(scene.landmarks)
        return CudaGraphRuntime(Task(*networks, 240, CUDA, 1, solving=solving))

    return make


def _image(camera: Camera = CAMERA) -> ByteImage:
    return np.zeros((camera.height, camera.width, 3), np.uint8)


def _larger(index: int) -> Camera:
    """A camera of another image size and the same size of the network's input."""
    width, height = 320 + 4 * index, 240 + 3 * index
    return Camera(width, height, 263.0, 263.0, (width - 1) / 2, (height - 1) / 2)


def test_a_graph_solves_and_is_captured_once(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type[_OnHost]
) -> None:
    scene = make_scene()
    runtime = runtime_of(scene)
    runtime.prepare(CAMERA)
    runtime.prepare(CAMERA)
    for _ in range(3):
        found = runtime.predict(_image(), CAMERA, solved=True)
        assert found.outcome is not None
        assert found.geometry.descriptors is None
        runtime.settle()
    expected = scene.on_host().world_from_camera[0]
    pose = found.outcome.facts().world_from_camera
    np.testing.assert_allclose(pose, expected, atol=1e-6)
    assert pretended.captured == [True]
    assert runtime.status.note == ''


def test_where_solving_cannot_be_captured_the_prediction_alone_is(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type[_OnHost]
) -> None:
    """It is tried once, not for every image or size, and the status names what refused it."""
    pretended.refused[True] = REFUSED
    scene = make_scene()
    runtime = runtime_of(scene)
    runtime.prepare(CAMERA)
    assert pretended.captured == [True, False]
    for camera in (CAMERA, CAMERA, _larger(1), _larger(1), CAMERA):
        found = runtime.predict(_image(camera), camera, solved=True)
        assert found.outcome is None
        np.testing.assert_array_equal(found.geometry.descriptors, scene.geometry.descriptors)
        runtime.settle()
    runtime.prepare(CAMERA)
    runtime.prepare(_larger(2))
    assert pretended.captured == [True, False, False, False]
    assert 'CUDA graph on cuda:0 (pretended GPU)' in runtime.status.name
    assert runtime.status.note == (
        'the CPU solves for the poses: in a CUDA graph, cuda:0 failed (CUDA error: operation not '
        'permitted when stream is capturing)'
    )


def test_where_nothing_can_be_captured_another_runtime_takes_over(
    make_scene: MakeScene, network_of: NetworkOf, pretended: type[_OnHost]
) -> None:
    """And the status names both."""
    pretended.refused |= {True: REFUSED, False: 'CUDA out of memory'}
    scene = make_scene()
    execution = Execution(
        network_of(scene), 240, CUDA, 'cuda_graph', solving=Solving(scene.landmarks)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('implicit_loc.runtimes.execution.BEST', {'cuda': (), 'cpu': ('eager',)})
        execution._choose()
        execution.prepare(CAMERA)
        found = execution.predict(_image(), CAMERA, solved=True)
    np.testing.assert_array_equal(found.geometry.depth, scene.geometry.depth)
    assert 'eager on cpu' in execution.status.name
    assert 'CUDA out of memory' in execution.status.note


def test_a_defect_is_not_taken_for_a_refusal(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type[_OnHost]
) -> None:
    pretended.refused[True] = 'sizes differ'
    with pytest.raises(RuntimeError, match='sizes differ'):
        runtime_of(make_scene()).prepare(CAMERA)


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_images_that_are_solved_elsewhere_get_a_graph_of_the_prediction_alone(
    make_scene: MakeScene,
    runtime_of: RuntimeOf,
    pretended: type[_OnHost],
    has_landmarks: bool,
) -> None:
    """From the second one on, and between two images; the others keep theirs."""
    scene = make_scene(has_landmarks=has_landmarks)
    runtime = runtime_of(scene)
    runtime.prepare(CAMERA)
    for count in (1, 2, 2):
        masked = runtime.predict(_image(), CAMERA)
        assert masked.outcome is None
        assert len(pretended.captured) == count
        for name, values in vars(scene.geometry).items():
            np.testing.assert_array_equal(getattr(masked.geometry, name), values)
        runtime.settle()
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is not None
        runtime.settle()
    assert pretended.captured == [True, False]


def test_lack_of_memory_for_that_graph_does_no_harm(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type[_OnHost]
) -> None:
    pretended.refused[False] = 'CUDA out of memory'
    runtime = runtime_of(make_scene())
    runtime.prepare(CAMERA)
    for _ in range(3):
        assert runtime.predict(_image(), CAMERA).outcome is None
        runtime.settle()
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is not None
    assert pretended.captured == [True, False]


def test_of_many_sizes_those_in_use_stay_captured(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type[_OnHost]
) -> None:
    """Four graphs at most; one of five sizes in turn is always captured anew."""
    runtime = runtime_of(make_scene())
    cameras = [_larger(index) for index in range(5)]
    for camera in cameras[:4]:
        runtime.prepare(camera)
    for camera in (cameras[0], cameras[4], cameras[0]):
        runtime.prepare(camera)
        assert runtime.predict(_image(camera), camera, solved=True).outcome is not None
    assert len(pretended.captured) == 5
    assert len(runtime._graphs) == 4
    runtime.predict(_image(cameras[1]), cameras[1], solved=True)
    assert 'eager' in runtime.status.name
    assert 'no graph is captured for images of this size yet' in runtime.status.note
    runtime.settle()
    assert runtime.status.note == ''
    assert len(pretended.captured) == 6


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_a_graph_whose_pose_is_not_that_of_the_host_solves_no_more(
    make_scene: MakeScene,
    runtime_of: RuntimeOf,
    pretended: type[_OnHost],
    monkeypatch: pytest.MonkeyPatch,
    has_landmarks: bool,
) -> None:
    """From its first image on, whose pose is the host's, too."""
    true = Outcome.facts

    def wrong(outcome: Outcome) -> Any:
        pose = true(outcome).world_from_camera + 0.01
        return replace(true(outcome), world_from_camera=pose)

    monkeypatch.setattr(Outcome, 'facts', wrong)
    scene = make_scene(has_landmarks=has_landmarks)
    runtime = runtime_of(scene)
    runtime.prepare(CAMERA)
    for _ in range(2):
        found = runtime.predict(_image(), CAMERA, solved=True)
        assert found.outcome is None
        for name, values in vars(scene.geometry).items():
            np.testing.assert_array_equal(getattr(found.geometry, name), values)
        assert runtime.status.note == (
            'the CPU solves for the poses: of the CUDA graph, its pose is 1.0e-02 (metres, and '
            'entries of the rotation) from that of the CPU, at most 1e-03 is allowed'
        )
        runtime.settle()
    runtime.prepare(_larger(1))
    assert pretended.captured == [True, False]


def test_the_pose_of_every_graph_is_compared_once(
    make_scene: MakeScene, runtime_of: RuntimeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(
        cuda_graph.agreement, 'require_same_pose', lambda *given: compared.append(given[2].width)
    )
    runtime = runtime_of(make_scene())
    for camera in (CAMERA, _larger(1), CAMERA, _larger(1)):
        runtime.prepare(camera)
        assert runtime.predict(_image(camera), camera, solved=True).outcome is not None
    assert len(compared) == 2
