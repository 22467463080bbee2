"""CUDA graph: the way from the uint8 image in pinned memory to the geometry, captured once.

One upload, one download and no word from the host in between: what an image costs the host is one
copy into pinned memory, one launch and one wait.
"""

import time
from dataclasses import replace

import torch

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.network import SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import agreement, packing
from implicit_loc.runtimes.base import (
    Geometry,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
    Task,
    Timings,
    versioned,
)
from implicit_loc.runtimes.device_failures import device_failures
from implicit_loc.runtimes.device_network import DeviceNetwork, fill
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.half_precision import half_precision_copy

# Of the image and of the network's input.
_Sizes = tuple[int, int, int, int]
# A camera driver that switches between a few modes finds all of them captured.
_MOST_GRAPHS = 4
# cuDNN tries its algorithms in the first run, and libraries begin to exist.
_RUNS_BEFORE_CAPTURE = 3


class CudaGraphRuntime(Runtime):
    """One captured graph per size of image and input; eager PyTorch for sizes without one.

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
        self._wanted: Camera | None = None
        self._newest: _Sizes | None = None

    @property
    def status(self) -> RuntimeStatus:
        """See Runtime."""
        if self._newest is None or self._newest in self._graphs:
            return RuntimeStatus(self._name)
        waiting = 'no graph is captured for images of this size yet: warming up does it'
        return replace(self._eager.status, note=self._reasons.get(self._newest, waiting))

    def predict(self, image: ByteImage, camera: Camera) -> tuple[Geometry, Timings]:
        """See Runtime.

        Raises:
            RuntimeUnavailableError: the device fails.
        """
        resized, self._newest = self._sizes(camera)
        graph = self._graphs.get(self._newest)
        with device_failures(self._task.device):
            if graph is not None:
                return graph.run(image, resized.focal_length)
            if self._newest not in self._reasons:
                self._wanted = camera
            return self._eager.predict(image, camera)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """See Runtime; capturing takes less than a second and exports nothing.

        Raises:
            RuntimeUnavailableError: the device fails.
        """
        resized, self._newest = self._sizes(camera)
        if self._newest in self._graphs:
            return
        with device_failures(self._task.device):
            graph = _Graph(self._network, self._task.device, camera, resized)
            noise = agreement.noise_image(camera)
            expected = self._eager.predict(noise, camera)[0]
            found = graph.run(noise, resized.focal_length)[0]
        try:
            agreement.require_agreement(self._name, found, expected, agreement.HALF_PRECISION)
        except RuntimeUnavailableError as error:
            self._reasons[self._newest] = str(error)
            return
        while len(self._graphs) >= _MOST_GRAPHS:
            self._graphs.pop(next(iter(self._graphs)))
        self._graphs[self._newest] = graph

    def settle(self) -> None:
        """See Runtime."""
        camera, self._wanted = self._wanted, None
        if camera is not None:
            self.prepare(camera)

    def _sizes(self, camera: Camera) -> tuple[Camera, _Sizes]:
        resized = preprocessing.input_camera(camera, self._task.input_height)
        return resized, (camera.width, camera.height, resized.width, resized.height)


class _Graph:
    """The captured graph of one size, with its memory on both sides."""

    def __init__(
        self, network: SceneNetwork, device: torch.device, camera: Camera, resized: Camera
    ) -> None:
        self._device = device
        self._module = DeviceNetwork(network, camera, resized).to(device)
        self._upload = torch.zeros(self._module.upload_bytes, dtype=torch.uint8).pin_memory()
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
                    packed = self._compute()
            stream.synchronize()
            self._download = torch.empty(packed.shape).pin_memory()
            self._graph = torch.cuda.CUDAGraph()
            # The node's other threads may use CUDA meanwhile.
            capture = torch.cuda.graph(
                self._graph, stream=stream, capture_error_mode='thread_local'
            )
            with capture:
                self._download.copy_(self._compute(), non_blocking=True)

    def _compute(self) -> torch.Tensor:
        self._on_device.copy_(self._upload, non_blocking=True)
        return self._module(self._on_device)

    def run(self, image: ByteImage, focal_length: float) -> tuple[Geometry, Timings]:
        """Image and focal length at the network's size -> geometry, seconds."""
        start = time.perf_counter()
        fill(self._upload.numpy(), image, focal_length)
        prepared = time.perf_counter()
        with torch.cuda.device(self._device):
            self._graph.replay()
            torch.cuda.current_stream().synchronize()
        # The next image overwrites what came down.
        geometry = packing.unpack(self._download.numpy().copy(), self._module.shapes)
        timings = {'preprocessing': prepared - start, 'network': time.perf_counter() - prepared}
        return geometry, timings
