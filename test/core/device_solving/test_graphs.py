"""Which graph executes an image, and who solves for its pose: on a GPU that is only pretended.

What would be captured runs on the CPU instead, operation by operation.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.device_solving import Outcome
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import Execution, Solving, cuda_graph
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime

if TYPE_CHECKING:
    from conftest import GraphOnHost, Scene

MakeScene = Callable[..., 'Scene']
NetworkOf = Callable[['Scene'], Any]
RuntimeOf = Callable[['Scene'], CudaGraphRuntime]

CUDA = torch.device('cuda:0')
REFUSED = 'CUDA error: operation not permitted when stream is capturing\nCompile with ...'
CAMERA = Camera(320, 240, 263.0, 263.0, 159.5, 119.5)


def _image(camera: Camera = CAMERA) -> ByteImage:
    return np.zeros((camera.height, camera.width, 3), np.uint8)


def _larger(index: int) -> Camera:
    """A camera of another image size and the same size of the network's input."""
    width, height = 320 + 4 * index, 240 + 3 * index
    return Camera(width, height, 263.0, 263.0, (width - 1) / 2, (height - 1) / 2)


def test_a_graph_solves_and_is_captured_once(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
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
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
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
    make_scene: MakeScene, network_of: NetworkOf, pretended: type['GraphOnHost']
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
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
) -> None:
    pretended.refused[True] = 'sizes differ'
    with pytest.raises(RuntimeError, match='sizes differ'):
        runtime_of(make_scene()).prepare(CAMERA)


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_images_that_are_solved_elsewhere_get_a_graph_of_the_prediction_alone(
    make_scene: MakeScene,
    runtime_of: RuntimeOf,
    pretended: type['GraphOnHost'],
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
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
) -> None:
    pretended.refused[False] = 'CUDA out of memory'
    runtime = runtime_of(make_scene())
    runtime.prepare(CAMERA)
    for _ in range(3):
        assert runtime.predict(_image(), CAMERA).outcome is None
        runtime.settle()
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is not None
    assert pretended.captured == [True, False]


def test_lack_of_memory_for_another_size_leaves_the_first_its_graph(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
) -> None:
    """Eager PyTorch answers the other one, until somebody asks for its graph again."""
    runtime = runtime_of(make_scene())
    runtime.prepare(CAMERA)
    pretended.refused |= dict.fromkeys((True, False), 'CUDA out of memory')
    other = _larger(1)
    for _ in range(3):
        assert runtime.predict(_image(other), other, solved=True).outcome is None
        runtime.settle()
        assert 'eager' in runtime.status.name
        assert runtime.status.note == 'cuda:0 failed (CUDA out of memory)'
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is not None
        assert runtime.status.note == ''
    runtime.prepare(other)
    assert pretended.captured == [True] + 2 * [True, False]
    pretended.refused.clear()
    runtime.prepare(other)
    assert runtime.predict(_image(other), other, solved=True).outcome is not None


@pytest.mark.parametrize('refused', ['CUDA out of memory', 'FIND was unable to find an engine'])
def test_where_solving_lacks_memory_it_is_tried_again_when_asked(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost'], refused: str
) -> None:
    """Other sizes do not lack it."""
    runtime = runtime_of(make_scene())
    runtime.prepare(CAMERA)
    pretended.refused[True] = refused
    other = _larger(1)
    runtime.prepare(other)
    for _ in range(2):
        assert runtime.predict(_image(other), other, solved=True).outcome is None
        runtime.settle()
        assert runtime.status.note == (
            f'the CPU solves for the poses in images of this size: cuda:0 failed ({refused}); '
            'warming up tries it again'
        )
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is not None
        assert runtime.status.note == ''
    assert pretended.captured == [True, True, False]
    pretended.refused.clear()
    runtime.prepare(other)
    assert runtime.predict(_image(other), other, solved=True).outcome is not None
    assert runtime.status.note == ''


def test_of_many_sizes_those_in_use_stay_captured(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
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
    pretended: type['GraphOnHost'],
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


def test_after_a_wrong_pose_no_graph_solves(
    make_scene: MakeScene, runtime_of: RuntimeOf, pretended: type['GraphOnHost']
) -> None:
    """Not even one of another size whose pose was right, as the status says."""
    runtime = runtime_of(make_scene())
    other = _larger(1)
    for camera in (other, CAMERA):
        runtime.prepare(camera)
    assert runtime.predict(_image(other), other, solved=True).outcome is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graph.agreement, 'SAME_POSE', -1.0)
        assert runtime.predict(_image(), CAMERA, solved=True).outcome is None
    for _ in range(2):
        found = runtime.predict(_image(other), other, solved=True)
        assert found.outcome is None
        assert found.geometry.descriptors is not None
        assert runtime.status.note.startswith('the CPU solves for the poses: of the CUDA graph')
        runtime.settle()
    assert pretended.captured == [True, True, False]


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
