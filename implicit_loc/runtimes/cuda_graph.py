"""CUDA graphs of the way from image to pose: which there are, and which one executes an image."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.device_solving import DeviceSolver
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import agreement
from implicit_loc.runtimes.base import (
    Prediction,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
    Task,
    versioned,
)
from implicit_loc.runtimes.captured_graph import CapturedGraph
from implicit_loc.runtimes.device_failures import DeviceMemoryError, device_failures
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.half_precision import half_precision_copy

# Of the image and of the network's input, and the distortion model, whose arithmetic is captured.
_Sizes = tuple[int, int, int, int, str]
# And whether poses are taken from the graph.
_Kind = tuple[_Sizes, bool]
# A camera driver that switches between a few modes finds all of them captured.
_MOST_GRAPHS = 4


class CudaGraphRuntime(Runtime):
    """One captured graph per size and distortion model; eager PyTorch where there is none.

    Images whose pose is not wanted of it, like those with a mask, get a graph of the prediction
    alone, once the first of them has come.

    Args:
        task: what to execute.

    Raises:
        RuntimeUnavailableError: the device is no CUDA device, or it fails.
    """

    def __init__(self, task: Task) -> None:
        if task.device.type != 'cuda':
            raise RuntimeUnavailableError(
                f'a CUDA graph needs a CUDA device, the network runs on {task.device}'
            )
        self._task = task
        with device_failures(task.device):
            self._eager = EagerRuntime(task)
            fast = half_precision_copy(task.network).to(task.device)
            self._network = fast.to(memory_format=torch.channels_last)
            device = f'{task.device} ({torch.cuda.get_device_name(task.device)}), half precision'
        self._name = versioned('torch', torch.__version__, f'CUDA graph on {device}')
        # What was used last at the end.
        self._graphs: OrderedDict[_Kind, CapturedGraph] = OrderedDict()
        self._reasons: dict[_Sizes, str] = {}
        # Why poses are left to the host: of all images, and of those of a size.
        self._unsolved = ''
        self._lacking: dict[_Sizes, str] = {}
        # The camera to capture for, and whether with solving.
        self._wanted: tuple[Camera, bool] | None = None
        self._newest: _Sizes | None = None

    @property
    def status(self) -> RuntimeStatus:
        """See Runtime."""
        # The thread of the images changes it meanwhile.
        newest = self._newest
        if newest is None or self._kind(newest, solved=True) is not None:
            unsolved = '' if newest is None else self._lacking.get(newest, '')
            return RuntimeStatus(self._name, self._unsolved or unsolved)
        waiting = 'no graph is captured for images of this size yet: warming up does it'
        return replace(self._eager.status, note=self._reasons.get(newest, waiting))

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """See Runtime.

        Raises:
            RuntimeUnavailableError: the device fails.
        """
        resized, self._newest = self._sizes(camera)
        # Whatever graph there is: what has found a wrong pose at one size may do so at another.
        solved = solved and self._may_solve(self._newest)
        kind = self._kind(self._newest, solved)
        if kind != (self._newest, solved) and self._newest not in self._reasons:
            self._wanted = (camera, solved)
        with self._failures():
            if kind is None:
                return self._eager.predict(image, camera)
            self._graphs.move_to_end(kind)
            found = self._graphs[kind].run(image, resized, solved)
            if found.outcome is None or self._graphs[kind].is_checked:
                return found
            return self._checked(kind, found, resized)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """See Runtime; capturing takes about a second and exports nothing.

        Raises:
            RuntimeUnavailableError: the device fails, and there is no graph yet.
        """
        _, self._newest = self._sizes(camera)
        # There may be more memory now.
        self._lacking.pop(self._newest, None)
        solved = self._may_solve(self._newest)
        if (self._newest, solved) not in self._graphs:
            self._capture(camera, solved)

    def settle(self) -> None:
        """See Runtime."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._capture(*wanted)

    def _may_solve(self, sizes: _Sizes) -> bool:
        # What the device refused once to capture, it will refuse at other sizes, but for memory.
        refused = self._unsolved or sizes in self._lacking
        return self._task.solving is not None and not refused

    def _kind(self, sizes: _Sizes, solved: bool) -> _Kind | None:
        """That of the graph for images of a size, or else of one that they can use, too."""
        kinds = ((sizes, solved), (sizes, not solved))
        return next((kind for kind in kinds if kind in self._graphs), None)

    def _capture(self, camera: Camera, solved: bool) -> None:
        """Make a graph ready, if it predicts what eager PyTorch does."""
        resized, sizes = self._sizes(camera)
        try:
            with self._failures():
                graph = self._captured(camera, resized, solved)
            with self._failures(graph):
                noise = agreement.noise_image(camera)
                expected = self._eager.predict(noise, camera).geometry
                found = graph.run(noise, resized, solved=False).geometry
        except RuntimeUnavailableError as error:
            # One graph more is a matter of speed: for lack of memory nobody gives up the others.
            if not self._graphs:
                raise
            self._reasons[sizes] = str(error)
            return
        try:
            agreement.require_agreement(self._name, found, expected, agreement.HALF_PRECISION)
        except RuntimeUnavailableError as error:
            self._reasons[sizes] = str(error)
            return
        while len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.popitem(last=False)
        self._graphs[sizes, graph.solves] = graph
        self._reasons.pop(sizes, None)

    def _captured(self, camera: Camera, resized: Camera, solved: bool) -> CapturedGraph:
        """The graph of a size; where solving cannot be captured, that of the prediction alone."""
        device = self._task.device
        sizes = self._sizes(camera)[1]
        if solved and self._may_solve(sizes) and self._task.solving is not None:
            stride = self._network.config.stride
            solver = DeviceSolver(resized, stride, self._task.solving.landmarks)
            module = DeviceNetwork(self._network, camera, resized, solver)
            try:
                with device_failures(device):
                    return CapturedGraph(module, resized, device)
            except DeviceMemoryError as error:
                self._lacking[sizes] = (
                    f'the CPU solves for the poses in images of this size: {error}; warming up '
                    'tries it again'
                )
            except RuntimeUnavailableError as error:
                self._unsolved = f'the CPU solves for the poses: in a CUDA graph, {error}'
            # Its landmarks take memory of the device.
            del module, solver
        return CapturedGraph(DeviceNetwork(self._network, camera, resized), resized, device)

    def _checked(self, kind: _Kind, found: Prediction, resized: Camera) -> Prediction:
        """The first pose of a graph, compared with what the host makes of the same prediction.

        When it was captured, no image of which a pose is known was at hand.
        """
        assert found.outcome is not None
        assert self._task.solving is not None
        graph = self._graphs[kind]
        whole = replace(found.geometry, descriptors=graph.brought_down())
        stride, landmarks = self._network.config.stride, self._task.solving.landmarks
        try:
            agreement.require_same_pose(found.outcome, whole, resized, stride, landmarks)
        except RuntimeUnavailableError as error:
            self._unsolved = f'the CPU solves for the poses: of the CUDA graph, {error}'
            # Its predictions have been checked before.
            self._graphs.setdefault((kind[0], False), self._graphs.pop(kind))
            return found._replace(geometry=whole, outcome=None)
        graph.is_checked = True
        return found

    @contextmanager
    def _failures(self, *others: CapturedGraph) -> Iterator[None]:
        """Failures of the device, after which memory of no graph, nor of others, may be freed."""
        try:
            with device_failures(self._task.device):
                yield
        except RuntimeUnavailableError:
            for graph in (*self._graphs.values(), *others):
                graph.abandon()
            raise

    def _sizes(self, camera: Camera) -> tuple[Camera, _Sizes]:
        resized = preprocessing.input_camera(camera, self._task.input_height)
        sizes = (camera.width, camera.height, resized.width, resized.height)
        return resized, (*sizes, camera.distortion_model)
