"""What the stages of one image cost at least: multiply-adds and bytes, and a device's rates.

A stage cannot be faster than its multiply-adds at the rate of the best kernel, nor than its bytes
at the rate of a copy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# Larger than any cache.
_COPIED_BYTES = 256_000_000
_PRODUCT = 1024
# Rows and columns, channels in, channels out.
_CONVOLUTION = (64, 256, 256)
# Of single milliseconds: some of them are undisturbed, whatever else the machine does.
_REPETITIONS = 30


@dataclass(frozen=True)
class Work:
    """What one stage does for one image.

    Attributes:
        multiply_adds: of its convolutions and matrix products; all others are few beside them.
        megabytes: that these must read and write, 10^6 bytes: inputs, weights and outputs once,
            as if all element-wise operations were part of them.
    """

    multiply_adds: int
    megabytes: float


@dataclass(frozen=True)
class Rates:
    """What the device does per second, measured.

    Attributes:
        multiply_adds_per_s: of the fastest of a float32 matrix product and a 1x1 convolution.
        bytes_per_s: read plus written by a copy of more than the caches hold.
    """

    multiply_adds_per_s: float
    bytes_per_s: float

    def or_faster(self, other: 'Rates') -> 'Rates':
        """The faster of two measurements: what else runs on the machine only slows one down."""
        return Rates(
            max(self.multiply_adds_per_s, other.multiply_adds_per_s),
            max(self.bytes_per_s, other.bytes_per_s),
        )

    def floor_ms(self, work: Work) -> float:
        """What the device needs for the work at least."""
        computing = work.multiply_adds / self.multiply_adds_per_s
        moving = 1e6 * work.megabytes / self.bytes_per_s
        return 1e3 * max(computing, moving)


class _Counter(TorchDispatchMode):
    """Adds up the bytes of the operations that FlopCounterMode counts."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            tensors = [leaf for leaf in tree_leaves((args, result)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def work_of(stage: Callable[[], object]) -> Work:
    """Run a stage once in eager PyTorch and count."""
    # The inner one takes composite operations apart, so that the outer one sees their parts.
    with _Counter() as counter, FlopCounterMode(display=False) as products:
        stage()
    # A multiply-add counts there as two operations.
    return Work(products.get_total_flops() // 2, counter.bytes / 1e6)


def measured_rates(device: torch.device) -> Rates:
    """Measure a device with the threads that PyTorch has now."""
    matrix = torch.rand(_PRODUCT, _PRODUCT, device=device)
    product = torch.empty_like(matrix)
    side, inputs, outputs = _CONVOLUTION
    image = torch.rand(1, inputs, side, side, device=device)
    image = image.to(memory_format=torch.channels_last)
    kernel = torch.rand(outputs, inputs, 1, 1, device=device)
    source = torch.ones(_COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    with torch.inference_mode():
        multiplying = _fastest(lambda: torch.mm(matrix, matrix, out=product), device)
        convolving = _fastest(lambda: functional.conv2d(image, kernel), device)
        copying = _fastest(lambda: target.copy_(source), device)
    fastest = max(_PRODUCT**3 / multiplying, side * side * inputs * outputs / convolving)
    return Rates(fastest, 2 * _COPIED_BYTES / copying)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest repetition: a rate is what the device reaches undisturbed."""
    best = float('inf')
    for _ in range(_REPETITIONS):
        begun = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begun)
    return best
