"""Which runtime executes the network: the one asked for, or the next best with the reason."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc.network import SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes.base import (
    Prediction,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
    Solving,
    Task,
    on_host,
)
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.onnx_runtime import OnnxRuntime

Result = TypeVar('Result')

RUNTIMES: dict[str, Callable[[Task], Runtime]] = {
    'eager': EagerRuntime,
    'onnx': OnnxRuntime,
    'onnx_cuda': partial(OnnxRuntime, provider='CUDAExecutionProvider'),
    'onnx_tensorrt': partial(OnnxRuntime, provider='TensorrtExecutionProvider'),
    'cuda_graph': CudaGraphRuntime,
}
# By type of device, the best first; the last one always works.
BEST = {'cuda': ('cuda_graph', 'eager'), 'cpu': ('onnx', 'eager')}
AUTO = 'auto'
CHOICES = (AUTO, *RUNTIMES)


class Execution:
    """Executes the network of one place, whatever happens to a runtime.

    A runtime that is missing or fails hands over to the next best one; the image at hand is
    answered all the same.

    Args:
        network: in evaluation mode; taken to the device where PyTorch executes it there.
        input_height: of the network's input, pixels.
        device: where to execute it.
        runtime: a key of RUNTIMES, or 'auto': CUDA graph on CUDA, ONNX Runtime on CPUs.
        threads: bound for PyTorch, in the whole process, and for ONNX Runtime; None for what
            PyTorch has.
        checkpoint: that the network comes from; exports are kept next to it.
        solving: for runtimes that solve for poses, too; None where none are wanted.

    Raises:
        ImplicitLocError: there is no such runtime, or the number of threads makes no sense.
    """

    def __init__(
        self,
        network: SceneNetwork,
        input_height: int,
        device: torch.device,
        runtime: str = AUTO,
        threads: int | None = None,
        checkpoint: Path | None = None,
        solving: Solving | None = None,
    ) -> None:
        if runtime not in CHOICES:
            raise ImplicitLocError(
                f'the runtime {runtime!r} is not known; known are {", ".join(CHOICES)}'
            )
        if threads is not None:
            if threads < 1:
                raise ImplicitLocError(f'the network cannot run on {threads} threads: 1 at least')
            torch.set_num_threads(threads)
        on_cpu = device.type == 'cpu'
        # Nothing can be copied from a GPU that has failed.
        host_network = network if on_cpu else copy.deepcopy(network).cpu()
        count = torch.get_num_threads()
        self._task = Task(network, host_network, input_height, device, count, checkpoint, solving)
        self._asked = runtime
        self._choose()

    @property
    def status(self) -> RuntimeStatus:
        """What executes images now, and why not another one."""
        status = self._runtime.status
        return replace(status, note='; '.join(filter(None, [*self._reasons, status.note])))

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """See Runtime; fails only if eager PyTorch on the CPU does."""
        return self._insisting(lambda runtime: runtime.predict(image, camera, solved=solved))

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """See Runtime; first tries again what was missing or has failed."""
        if self._reasons:
            if self._task.device.type != 'cpu':
                # What lay on a device that failed may be lost.
                again = copy.deepcopy(self._task.host_network)
                self._task = replace(self._task, network=again)
            self._choose()
        self._insisting(lambda runtime: runtime.prepare(camera, export=export))

    def settle(self) -> None:
        """See Runtime."""
        self._insisting(lambda runtime: runtime.settle())

    def _choose(self) -> None:
        self._reasons: list[str] = []
        self._candidates = self._in_order()
        self._runtime = self._next()

    def _in_order(self) -> Iterator[Callable[[], Runtime]]:
        """The runtime that was asked for, then the others, the best first."""
        kind = self._task.device.type
        names = BEST[kind] if self._asked == AUTO else (self._asked, *BEST[kind])
        tried = [(name, self._task) for name in dict.fromkeys(names)]
        if kind != 'cpu':
            tried += [(name, on_host(self._task)) for name in BEST['cpu']]
        for name, task in tried:
            yield partial(RUNTIMES[name], task)

    def _next(self) -> Runtime:
        for make in self._candidates:
            try:
                return make()
            except RuntimeUnavailableError as error:
                self._reasons.append(str(error))
        raise ImplicitLocError(f'no runtime executes the network: {"; ".join(self._reasons)}')

    def _insisting(self, call: Callable[[Runtime], Result]) -> Result:
        while True:
            try:
                return call(self._runtime)
            except RuntimeUnavailableError as error:
                reason = f'{error}; warming up tries it again'
                if reason not in self._reasons:
                    self._reasons.append(reason)
                self._runtime = self._next()
