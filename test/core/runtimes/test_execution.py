"""Which runtime runs, and what happens when it is missing or fails."""

import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from implicit_loc import Camera, ImplicitLocError
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import (
    RUNTIMES,
    Execution,
    Prediction,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
)
from implicit_loc.runtimes.base import Task, on_host
from implicit_loc.runtimes.eager import EagerRuntime

CPU, CUDA = torch.device('cpu'), torch.device('cuda:0')
IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


class _Fake(Runtime):
    """Answers with eager PyTorch on the CPU until it is told to fail.

    Args:
        name: that it reports, followed by its device.
        task: whose device it claims to use.
    """

    failing: ClassVar[set[str]] = set()

    def __init__(self, name: str, task: Task) -> None:
        self._name = f'{name} on {task.device}'
        self._fail()
        self._eager = EagerRuntime(on_host(task))

    def _fail(self) -> None:
        if self._name in self.failing:
            raise RuntimeUnavailableError(f'{self._name} is out of memory')

    @property
    def status(self) -> RuntimeStatus:
        return RuntimeStatus(self._name)

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        self._fail()
        return self._eager.predict(image, camera)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        self._fail()

    def settle(self) -> None:
        self._fail()


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every runtime is a fake; the set holds the names of those that fail."""
    monkeypatch.setattr(_Fake, 'failing', set())
    for name in RUNTIMES:
        monkeypatch.setitem(RUNTIMES, name, partial(_Fake, name))
    return _Fake.failing


def _execution(
    network: SceneNetwork, device: torch.device, runtime: str = 'auto', threads: int | None = None
) -> Execution:
    return Execution(network, 120, device, runtime, threads)


@pytest.mark.parametrize(
    ('device', 'asked', 'name'),
    [
        (CPU, 'auto', 'onnx on cpu'),
        (CUDA, 'auto', 'cuda_graph on cuda:0'),
        (CPU, 'eager', 'eager on cpu'),
        (CUDA, 'eager', 'eager on cuda:0'),
        (CUDA, 'onnx_tensorrt', 'onnx_tensorrt on cuda:0'),
    ],
)
def test_the_fastest_runtime_of_the_device_runs_unless_another_is_asked_for(
    fakes: set[str], untrained_network: SceneNetwork, device: torch.device, asked: str, name: str
) -> None:
    assert _execution(untrained_network, device, asked).status == RuntimeStatus(name)


def test_a_failing_gpu_costs_no_image_and_is_used_again_when_asked(
    fakes: set[str], untrained_network: SceneNetwork, small_camera: Camera
) -> None:
    """From graph to eager, to the CPU, and back; the status says why at each step."""
    execution = _execution(untrained_network, CUDA)
    expected = execution.predict(IMAGE, small_camera).geometry
    for failing, name in (
        ('cuda_graph on cuda:0', 'eager on cuda:0'),
        ('eager on cuda:0', 'onnx on cpu'),
        ('onnx on cpu', 'eager on cpu'),
    ):
        fakes.add(failing)
        found = execution.predict(IMAGE, small_camera).geometry
        np.testing.assert_array_equal(found.world_points, expected.world_points)
        assert execution.status.name == name
        assert f'{failing} is out of memory; warming up tries it again' in execution.status.note
    execution.prepare(small_camera)
    assert execution.status.name == 'eager on cpu'
    fakes.clear()
    execution.predict(IMAGE, small_camera)
    assert execution.status.name == 'eager on cpu'
    execution.prepare(small_camera)
    assert execution.status == RuntimeStatus('cuda_graph on cuda:0')


def test_a_gpu_that_fails_between_images_costs_none(
    fakes: set[str], untrained_network: SceneNetwork, small_camera: Camera
) -> None:
    execution = _execution(untrained_network, CUDA)
    fakes.add('cuda_graph on cuda:0')
    execution.settle()
    assert execution.status.name == 'eager on cuda:0'


def test_where_nothing_is_left_the_error_says_what_was_tried(
    fakes: set[str], untrained_network: SceneNetwork, small_camera: Camera
) -> None:
    execution = _execution(untrained_network, CPU)
    fakes.update({'onnx on cpu', 'eager on cpu'})
    with pytest.raises(ImplicitLocError, match=r'onnx on cpu is out of .*eager on cpu is'):
        execution.predict(IMAGE, small_camera)


def test_without_onnx_runtime_eager_runs_and_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, checkpoint_path: Path, small_camera: Camera
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    localizer = Localizer.load(checkpoint_path, 'cpu')
    assert localizer.runtime.name.startswith(f'torch {torch.__version__} eager on cpu, ')
    assert 'pip install onnxruntime onnx onnxscript' in localizer.runtime.note
    assert '\n' not in localizer.runtime.note
    assert localizer.warm_up() > 0
    quiet = Localizer.load(checkpoint_path, 'cpu', runtime='eager')
    assert quiet.runtime.note == ''
    first, second = (each.predict(IMAGE, small_camera) for each in (localizer, quiet))
    np.testing.assert_array_equal(first.world_points, second.world_points)


def test_a_graph_without_a_gpu_gives_way_with_the_reason(checkpoint_path: Path) -> None:
    status = Localizer.load(checkpoint_path, 'cpu', runtime='cuda_graph').runtime
    assert 'a CUDA graph needs a CUDA device, the network runs on cpu' in status.note
    assert 'CUDA graph' not in status.name


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'runtime': 'tensorflow'}, "'tensorflow' is not known; known are auto, eager, onnx"),
        ({'threads': 0}, 'cannot run on 0 threads'),
        ({'threads': -2}, 'cannot run on -2 threads'),
    ],
)
def test_a_runtime_or_number_of_threads_that_cannot_be_is_refused(
    checkpoint_path: Path, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ImplicitLocError, match=message):
        Localizer.load(checkpoint_path, 'cpu', **wrong)  # type: ignore[arg-type]


def test_the_bound_of_threads_holds_and_is_reported(checkpoint_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        localizer = Localizer.load(checkpoint_path, 'cpu', runtime='eager', threads=3)
        assert torch.get_num_threads() == 3
        assert localizer.runtime.name.endswith('eager on cpu, 3 threads')
    finally:
        torch.set_num_threads(before)


def test_a_network_in_memory_runs_eagerly_unless_asked_otherwise(
    untrained_network: SceneNetwork, description: CheckpointDescription
) -> None:
    """While it is trained, an export of every state would be in vain."""
    localizer = Localizer(untrained_network, description, 'cpu')
    assert 'eager on cpu' in localizer.runtime.name
    assert localizer.runtime.note == ''
