"""One captured CUDA graph: the way from the uint8 image in pinned memory to the pose.

One upload, one small download and no word from the host in between: what an image costs the host
is one copy into pinned memory, one launch, one wait, and what follows from the numbers that came.
"""

import ctypes
import threading
import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.device_solving import Outcome
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes.base import Prediction
from implicit_loc.runtimes.device_network import DeviceNetwork, fill

# cuDNN tries its algorithms in the first run, and libraries begin to exist.
_RUNS_BEFORE_CAPTURE = 3
# Beginning a capture waits for the whole device, which CUDA refuses while another thread captures.
_CAPTURING = threading.Lock()


class CapturedGraph:
    """The captured graph of one size, with its memory on both sides.

    Args:
        module: what is captured; it goes to the device.
        camera: of the network's input.
        device: of CUDA.

    Raises:
        RuntimeError: CUDA refuses to capture it, or fails.

    Attributes:
        is_checked: whether a pose of it has been compared with one that the host has found.
    """

    def __init__(self, module: DeviceNetwork, camera: Camera, device: torch.device) -> None:
        self._device = device
        self._module, self._camera = module.to(device), camera
        self.is_checked = False
        self._pinned: list[torch.Tensor] = []
        with _CAPTURING:
            try:
                self._capture()
            except RuntimeError:
                self.abandon()
                raise

    @property
    def solves(self) -> bool:
        """Whether poses come down, too."""
        return self._module.solver is not None

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
        self._use(resized)
        self._replay()
        # The next image overwrites what came down.
        geometry, parts = self._module.read(self._download.numpy().copy())
        outcome = None if parts is None else Outcome(parts, resized.focal_length)
        if not (solved and outcome is not None and outcome.is_decided):
            geometry, outcome = replace(geometry, descriptors=self.brought_down()), None
        timings = {'preprocessing': prepared - start, 'network': time.perf_counter() - prepared}
        return Prediction(geometry, timings, outcome)

    def brought_down(self) -> NDArray[np.float32] | None:
        """The descriptors of the newest image; None of maps without landmarks."""
        if self._descriptors is None:
            return None
        # Waits until it is done.
        self._descriptor_download.copy_(self._descriptors)
        return self._descriptor_download.numpy().copy()

    def abandon(self) -> None:
        """Never free the pinned memory, be it at the end of the process.

        Once the device has failed, freeing what it has copied from or to ends the process:
        PyTorch records an event in a destructor, which may not fail.
        """
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._pinned))

    def _compute(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        self._on_device.copy_(self._upload, non_blocking=True)
        return self._module(self._on_device)

    def _capture(self) -> None:
        self._upload = self._pin(torch.zeros(self._module.upload_bytes, dtype=torch.uint8))
        self._on_device = torch.empty_like(self._upload, device=self._device)
        stream = torch.cuda.Stream(self._device)
        # Which carries what has just been moved to the device.
        stream.wait_stream(torch.cuda.current_stream(self._device))
        fastest = torch.backends.cudnn.flags(
            enabled=True, benchmark=True, deterministic=False, allow_tf32=True
        )
        # Where a capture fails, PyTorch leaves its stream the current one.
        before = torch.cuda.stream(torch.cuda.current_stream(self._device))
        with torch.inference_mode(), torch.cuda.device(self._device), fastest, before:
            with torch.cuda.stream(stream):
                for _ in range(_RUNS_BEFORE_CAPTURE):
                    packed, self._descriptors = self._compute()
            stream.synchronize()
            self._download = self._pin(torch.empty(packed.shape))
            self._graph = torch.cuda.CUDAGraph()
            # The node's other threads may use CUDA meanwhile.
            capture = torch.cuda.graph(
                self._graph, stream=stream, capture_error_mode='thread_local'
            )
            with capture:
                packed, self._descriptors = self._compute()
                self._download.copy_(packed, non_blocking=True)
        if self._descriptors is not None:
            self._descriptor_download = self._pin(torch.empty(self._descriptors.shape))

    def _pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Where the device can copy from or to by itself."""
        self._pinned.append(tensor.pin_memory())
        return self._pinned[-1]

    def _replay(self) -> None:
        with torch.cuda.device(self._device):
            self._graph.replay()
            torch.cuda.current_stream().synchronize()

    def _use(self, resized: Camera) -> None:
        if resized != self._camera and self._module.solver is not None:
            self._module.solver.camera.use(resized)
        self._camera = resized
