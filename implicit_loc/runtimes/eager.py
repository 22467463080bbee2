"""Eager PyTorch: works everywhere, and is what the others are compared with."""

import time

import torch

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import packing
from implicit_loc.runtimes.base import (
    Geometry,
    Prediction,
    Runtime,
    RuntimeStatus,
    Task,
    versioned,
)
from implicit_loc.runtimes.device_failures import device_failures


class EagerRuntime(Runtime):
    """PyTorch, operation by operation; in half precision where there is CUDA.

    Args:
        task: whose network is taken to its device, itself and no copy.

    Raises:
        RuntimeUnavailableError: the device fails.
    """

    def __init__(self, task: Task) -> None:
        self._device = task.device
        self._on_cuda = task.device.type == 'cuda'
        self._input_height = task.input_height
        with device_failures(task.device):
            network = task.network.to(task.device)
            self._network = network.to(memory_format=torch.channels_last)
        if self._on_cuda:
            device = f'{task.device} ({torch.cuda.get_device_name(task.device)}), half precision'
            name = versioned('torch', torch.__version__, f'eager on {device}')
        else:
            name = versioned('torch', torch.__version__, f'eager on {task.device}', task.threads)
        self._status = RuntimeStatus(name)

    @property
    def status(self) -> RuntimeStatus:
        """See Runtime."""
        return self._status

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """Nothing to compile."""

    def settle(self) -> None:
        """Nothing to compile."""

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """See Runtime; poses are left to the host."""
        start = time.perf_counter()
        size = preprocessing.input_camera(camera, self._input_height)
        resized = preprocessing.resize(image, size.width, size.height)
        prepared = time.perf_counter()
        with device_failures(self._device):
            geometry = self._execute(resized, size.focal_length)
        timings = {'preprocessing': prepared - start, 'network': time.perf_counter() - prepared}
        return Prediction(geometry, timings)

    def _execute(self, resized: ByteImage, focal_length: float) -> Geometry:
        with torch.inference_mode(), torch.autocast('cuda', enabled=self._on_cuda):
            images = preprocessing.to_tensor(resized)[None].to(self._device)
            focal_lengths = torch.tensor([focal_length], device=self._device)
            predicted = self._network(preprocessing.normalise(images), focal_lengths)
            if not self._on_cuda:
                return predicted.map(lambda tensor: tensor[0].float().numpy())
            # One download, which also waits for the device: the timing is honest.
            packed, shapes = packing.pack(predicted)
            return packing.unpack(packed.cpu().numpy(), shapes)
