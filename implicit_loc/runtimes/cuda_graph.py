"""CUDA graph: the way from the uint8 image in pinned memory to the pose, captured once.

One upload, one small download and no word from the host in between: what an image costs the host
is one copy into pinned memory, one launch, one wait, and what follows from the numbers that came.
"""

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.device_solving import DeviceSolver, Outcome
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
from implicit_loc.runtimes.device_failures import device_failures
from implicit_loc.runtimes.device_network import DeviceNetwork, fill
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.half_precision import half_precision_copy

# Of the image and of the network's input, and the distortion model, whose arithmetic is captured.
_Sizes = tuple[int, int, int, int, str]
# A camera driver that switches between a few modes finds all of them captured.
_MOST_GRAPHS = 4
# cuDNN tries its algorithms in the first run, and libraries begin to exist.
_RUNS_BEFORE_CAPTURE = 3


class CudaGraphRuntime(Runtime):
    """One captured graph per size and distortion model; eager PyTorch where there is none.

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
        self._graphs: dict[_Sizes, _Graph] = {}
        self._reasons: dict[_Sizes, str] = {}
        # Why poses are left to the host.
        self._unsolved = ''
        self._wanted: Camera | None = None
        self._newest: _Sizes | None = None

    @property
    def status(self) -> RuntimeStatus:
        """See Runtime."""
        # The thread of the images changes it meanwhile.
        newest = self._newest
        graph = self._graphs.get(newest) if newest else None
        if newest is None or graph is not None:
            left_to_host = graph is not None and not graph.solves
            return RuntimeStatus(self._name, self._unsolved if left_to_host else '')
        waiting = 'no graph is captured for images of this size yet: warming up does it'
        return replace(self._eager.status, note=self._reasons.get(newest, waiting))

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """See Runtime.

        Raises:
            RuntimeUnavailableError: the device fails.
        """
        resized, self._newest = self._sizes(camera)
        graph = self._graphs.get(self._newest)
        with device_failures(self._task.device):
            if graph is not None:
                return graph.run(image, resized, solved)
            if self._newest not in self._reasons:
                self._wanted = camera
            return self._eager.predict(image, camera)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """See Runtime; capturing takes about a second and exports nothing.

        Raises:
            RuntimeUnavailableError: the device fails.
        """
        resized, self._newest = self._sizes(camera)
        if self._newest in self._graphs:
            return
        with device_failures(self._task.device):
            graph = self._captured(camera, resized)
            noise = agreement.noise_image(camera)
            expected = self._eager.predict(noise, camera).geometry
            found = graph.run(noise, resized, solved=False).geometry
        try:
            agreement.require_agreement(self._name, found, expected, agreement.HALF_PRECISION)
        except RuntimeUnavailableError as error:
            self._reasons[self._newest] = str(error)
            return
        while len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.pop(next(iter(self._graphs)))
        self._graphs[self._newest] = graph

    def _captured(self, camera: Camera, resized: Camera) -> '_Graph':
        """The graph of a size; where solving cannot be captured, that of the prediction alone."""
        device = self._task.device
        # What the device refused once to capture, it will refuse at other sizes.
        if self._task.solving is not None and not self._unsolved:
            stride = self._network.config.stride
            solver = DeviceSolver(resized, stride, self._task.solving.landmarks)
            module = DeviceNetwork(self._network, camera, resized, solver)
            try:
                with device_failures(device):
                    return _Graph(module, resized, device)
            except RuntimeUnavailableError as error:
                self._unsolved = f'the CPU solves for the poses: in a CUDA graph, {error}'
            # Its landmarks take memory of the device.
            del module, solver
        return _Graph(DeviceNetwork(self._network, camera, resized), resized, device)

    def settle(self) -> None:
        """See Runtime."""
        camera, self._wanted = self._wanted, None
        if camera is not None:
            self.prepare(camera)

    def _sizes(self, camera: Camera) -> tuple[Camera, _Sizes]:
        resized = preprocessing.input_camera(camera, self._task.input_height)
        sizes = (camera.width, camera.height, resized.width, resized.height)
        return resized, (*sizes, camera.distortion_model)


class _Graph:
    """The captured graph of one size, with its memory on both sides."""

    def __init__(self, module: DeviceNetwork, camera: Camera, device: torch.device) -> None:
        self._device = device
        self._module, self._camera = module.to(device), camera
        self._upload = torch.zeros(module.upload_bytes, dtype=torch.uint8).pin_memory()
        self._on_device = torch.empty_like(self._upload, device=device)
        stream = torch.cuda.Stream(device)
        # Which carries what has just been moved to the device.
        stream.wait_stream(torch.cuda.current_stream(device))
        fastest = torch.backends.cudnn.flags(
            enabled=True, benchmark=True, deterministic=False, allow_tf32=True
        )
        with torch.inference_mode(), torch.cuda.device(device), fastest:
            with torch.cuda.stream(stream):
                for _ in range(_RUNS_BEFORE_CAPTURE):
                    packed, descriptors = self._compute()
            stream.synchronize()
            self._download = torch.empty(packed.shape).pin_memory()
            self._graph = torch.cuda.CUDAGraph()
            # The node's other threads may use CUDA meanwhile.
            capture = torch.cuda.graph(
                self._graph, stream=stream, capture_error_mode='thread_local'
            )
            with capture:
                packed, descriptors = self._compute()
                self._download.copy_(packed, non_blocking=True)
        self._descriptors = descriptors
        if descriptors is not None:
            self._descriptor_download = torch.empty(descriptors.shape).pin_memory()

    @property
    def solves(self) -> bool:
        """Whether poses come down, too."""
        return self._module.solver is not None

    def _compute(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        self._on_device.copy_(self._upload, non_blocking=True)
        return self._module(self._on_device)

    def run(self, image: ByteImage, resized: Camera, solved: bool) -> Prediction:
        """Predict on an image, with the camera at the network's size.

        Args:
            image: of the size that was captured.
            resized: another one than before costs the tables of its rays.
            solved: whether the pose is wanted.
        """
        start = time.perf_counter()
        fill(self._upload.numpy(), image, resized.focal_length)
        prepared = time.perf_counter()
        with torch.cuda.device(self._device):
            self._use(resized)
            self._graph.replay()
            torch.cuda.current_stream().synchronize()
            # The next image overwrites what came down.
            geometry, parts = self._module.read(self._download.numpy().copy())
            outcome = None if parts is None else Outcome(parts, resized.focal_length)
            if not (solved and outcome is not None and outcome.is_decided):
                geometry, outcome = replace(geometry, descriptors=self._brought_down()), None
        timings = {'preprocessing': prepared - start, 'network': time.perf_counter() - prepared}
        return Prediction(geometry, timings, outcome)

    def _use(self, resized: Camera) -> None:
        if resized != self._camera and self._module.solver is not None:
            self._module.solver.camera.use(resized)
        self._camera = resized

    def _brought_down(self) -> NDArray[np.float32] | None:
        """The descriptors of the newest image."""
        if self._descriptors is None:
            return None
        self._descriptor_download.copy_(self._descriptors, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return self._descriptor_download.numpy().copy()
