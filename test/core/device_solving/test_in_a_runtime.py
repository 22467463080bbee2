"""Solved as part of a runtime's work: what comes out of the localizer is the same."""

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.device_solving import Outcome
from implicit_loc.errors import AlignmentError, ImplicitLocError
from implicit_loc.inspection import landmarks_seen
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import RUNTIMES, Prediction, Runtime, RuntimeStatus
from implicit_loc.runtimes.base import Task
from implicit_loc.runtimes.captured_graph import CapturedGraph
from implicit_loc.runtimes.device_network import DeviceNetwork, fill

if TYPE_CHECKING:
    from conftest import Scene

MakeScene = Callable[..., 'Scene']
ModuleOf = Callable[['Scene'], DeviceNetwork]


def _image(camera: Camera) -> ByteImage:
    return np.zeros((camera.height, camera.width, 3), np.uint8)


def _require_scene(scene: 'Scene', outcome: Outcome) -> None:
    pose, expected = outcome.facts().world_from_camera, scene.on_host().world_from_camera[0]
    np.testing.assert_allclose(pose, expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_pose_and_geometry_come_down_together(
    make_scene: MakeScene, module_of: ModuleOf, has_landmarks: bool
) -> None:
    """In one piece, of which no digit is lost; only the descriptors are left behind."""
    scene = make_scene(has_landmarks=has_landmarks)
    module = module_of(scene)
    upload = np.zeros(module.upload_bytes, np.uint8)
    fill(upload, _image(scene.camera), scene.camera.focal_length)
    with torch.inference_mode():
        packed, descriptors = module(torch.from_numpy(upload))
    geometry, parts = module.read(packed.numpy())
    assert packed.numel() < 10_000
    assert parts is not None
    for found, expected in zip(parts, scene.on_device().parts, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(geometry.world_points, scene.geometry.world_points)
    assert geometry.descriptors is None
    assert (descriptors is None) == (not has_landmarks)


@pytest.mark.needs_gpu
@pytest.mark.parametrize('has_landmarks', [True, False])
def test_a_captured_graph_finds_the_pose_of_the_host(
    make_scene: MakeScene, module_of: ModuleOf, camera: Camera, has_landmarks: bool
) -> None:
    """With every lens, and with the descriptors where they are asked for."""
    scene = make_scene(camera, has_landmarks=has_landmarks)
    graph = CapturedGraph(module_of(scene), camera, torch.device('cuda:0'))
    image = _image(camera)
    for _ in range(3):
        found = graph.run(image, camera, solved=True)
        assert found.outcome is not None
        _require_scene(scene, found.outcome)
        assert found.geometry.descriptors is None
    whole = graph.run(image, camera, solved=False)
    assert whole.outcome is None
    if has_landmarks:
        np.testing.assert_array_equal(whole.geometry.descriptors, scene.geometry.descriptors)


@pytest.mark.needs_gpu
def test_another_camera_needs_no_other_graph(
    make_scene: MakeScene, module_of: ModuleOf, camera: Camera
) -> None:
    """From one image to the next and back: its rays are those of the image at hand."""
    scene = make_scene(camera)
    graph = CapturedGraph(module_of(scene), camera, torch.device('cuda:0'))
    other = replace(scene, camera=replace(camera, fx=1.01 * camera.fx, cx=camera.cx + 2))
    for each in (scene, other, scene):
        outcome = graph.run(_image(camera), each.camera, solved=True).outcome
        assert outcome is not None
        _require_scene(each, outcome)


class _Solving(Runtime):
    """Predicts a scene, and solves for its pose on the CPU as a graph does on a GPU."""

    scene: 'Scene'
    tasks: list[Task]

    def __init__(self, task: Task) -> None:
        self.tasks.append(task)

    @property
    def status(self) -> RuntimeStatus:
        return RuntimeStatus('solving')

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        timings = {'preprocessing': 0.0, 'network': 0.0}
        outcome = self.scene.on_device()
        if solved and outcome.is_decided:
            geometry = replace(self.scene.geometry, descriptors=None)
            return Prediction(geometry, timings, outcome)
        return Prediction(self.scene.geometry, timings)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        pass

    def settle(self) -> None:
        pass


MakeLocalizer = Callable[..., Localizer]


@pytest.fixture
def localizer_in(
    monkeypatch: pytest.MonkeyPatch, description: CheckpointDescription
) -> MakeLocalizer:
    """`localizer_in(scene)`: sees the scene in every image."""

    def make(scene: 'Scene', **options: str) -> Localizer:
        monkeypatch.setattr(_Solving, 'scene', scene, raising=False)
        monkeypatch.setattr(_Solving, 'tasks', [], raising=False)
        monkeypatch.setitem(RUNTIMES, 'cuda_graph', _Solving)
        count = 0 if scene.landmarks is None else len(scene.landmarks.positions)
        network = SceneNetwork(NetworkConfig(decoder_channels=16, landmarks=count))
        header = replace(description, input_height=240, training_camera=scene.camera)
        localizer = Localizer(network, header, 'cpu', runtime='cuda_graph', **options)
        localizer.landmarks = scene.landmarks
        return localizer

    return make


def _summary(estimate: PoseEstimate) -> list[float]:
    return [
        *estimate.world_from_camera.ravel(),
        *estimate.first_pose.ravel(),
        estimate.confidence,
        *astuple(estimate.evidence),
        *astuple(estimate.residuals),
    ]


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_the_estimate_is_that_of_the_host(
    make_scene: MakeScene, localizer_in: MakeLocalizer, has_landmarks: bool
) -> None:
    scene = make_scene(has_landmarks=has_landmarks)
    localizer = localizer_in(scene)
    image = _image(scene.camera)
    found = localizer.localize(image, scene.camera)
    expected = localizer.solve(localizer.predict(image, scene.camera), scene.camera)
    assert _summary(found) == pytest.approx(_summary(expected), abs=1e-4)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-3, atol=1e-9)
    assert found.camera == expected.camera
    assert found.timings.keys() == {'preprocessing', 'network', 'uncertainty', 'total'}
    if has_landmarks:
        assert scene.landmarks is not None
        seen, looked = (landmarks_seen(each, scene.landmarks) for each in (found, expected))
        np.testing.assert_allclose(seen.pixels, looked.pixels, atol=1e-3)
        np.testing.assert_array_equal(seen.agree, looked.agree)
        assert seen.agree.sum() > 100


def test_what_takes_a_decision_is_solved_on_the_host(
    make_scene: MakeScene, localizer_in: MakeLocalizer
) -> None:
    """With its own stages: a pose far off, a mask, a prediction without a pose."""
    far = make_scene(shift=(0.3, 0.3, 0.0), wrong=0.2)
    assert not far.on_device().is_decided
    estimate = localizer_in(far).localize(_image(far.camera), far.camera)
    assert 'landmarks' in estimate.timings
    scene = make_scene()
    mask = np.zeros((240, 320), bool)
    mask[:, :100] = True
    localizer = localizer_in(scene)
    masked = localizer.localize(_image(scene.camera), scene.camera, mask)
    assert 'landmarks' in masked.timings
    assert masked.residuals.cells < 0.8 * 30 * 40
    nothing = replace(scene.geometry, weights=np.zeros_like(scene.geometry.weights))
    with pytest.raises(AlignmentError, match='0 cells have weight'):
        localizer_in(replace(scene, geometry=nothing)).localize(_image(scene.camera), scene.camera)


def test_only_the_default_solver_is_asked_of_a_runtime(
    make_scene: MakeScene, localizer_in: MakeLocalizer
) -> None:
    """Every other one is for the host."""
    scene = make_scene()
    localizer_in(scene)
    assert _Solving.tasks[0].solving is not None
    localizer_in(scene, solver='robust')
    assert _Solving.tasks[0].solving is None


def test_what_a_device_has_solved_is_not_silently_solved_otherwise(
    make_scene: MakeScene, localizer_in: MakeLocalizer
) -> None:
    """Without the descriptors, the cells alone would give another pose; they can be asked for."""
    scene = make_scene()
    localizer = localizer_in(scene)
    estimate = localizer.localize(_image(scene.camera), scene.camera)
    with pytest.raises(ImplicitLocError, match=r'no descriptors to find landmarks by.*`predict`'):
        localizer.solve(estimate.geometry, scene.camera)
    again = localizer.solve(localizer.predict(_image(scene.camera), scene.camera), scene.camera)
    np.testing.assert_allclose(again.world_from_camera, estimate.world_from_camera, atol=1e-6)
    on_cells = localizer.solve(estimate.geometry, scene.camera, solver='robust')
    assert on_cells.evidence.landmark_share == 0
    bare = make_scene(has_landmarks=False)
    localizer = localizer_in(bare)
    estimate = localizer.localize(_image(bare.camera), bare.camera)
    again = localizer.solve(estimate.geometry, bare.camera)
    np.testing.assert_allclose(again.world_from_camera, estimate.world_from_camera, atol=1e-6)
