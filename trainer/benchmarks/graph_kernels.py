"""How many kernels the CUDA graph of a checkpoint starts for an image; no GPU is needed.

    python trainer/benchmarks/graph_kernels.py models/redkitchen.safetensors

The graph runs on a GPU that is only pretended. Each kernel takes a real one a microsecond or two
to begin, however little it does: their number is the floor of what solving can take.
"""

import argparse
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.device_solving import DeviceSolver
from implicit_loc.localizer import landmarks_on_host
from implicit_loc.preprocessing import input_camera
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.half_precision import half_precision_copy

# Views of other tensors.
_FREE = frozenset(
    {'view', '_unsafe_view', 'expand', 'slice', 'select', 'unsqueeze', 'squeeze', 'transpose'}
    | {'permute', 't', 'detach', 'alias', 'as_strided', 'unbind', 'split', 'split_with_sizes'}
    | {'diagonal', 'empty', 'empty_like', 'empty_strided', 'device'}
)


class _Counting(TorchDispatchMode):
    """Counts the operations that start a kernel, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.name().split('::')[1].split('.')[0]
        if name == 'lift_fresh':
            # A constant, which only the first run copies to a GPU.
            self.found['_to_copy'] -= 1
        elif name not in _FREE:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


def kernels(module: DeviceNetwork) -> Counter[str]:
    """Of one image, by the names of the operations."""
    state = itertools.chain(module.named_parameters(), module.named_buffers())
    with FakeTensorMode(), torch.no_grad():
        pretended = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device='cuda')
            for name, tensor in state
        }
        upload = torch.empty(module.upload_bytes, dtype=torch.uint8, device='cuda')
        with _Counting() as counting:
            torch.func.functional_call(module, pretended, (upload,))
    return counting.found


def main() -> None:
    """Count those of a checkpoint, with and without solving."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    network, description = load_checkpoint(parser.parse_args().checkpoint)
    camera = description.training_camera
    resized = input_camera(camera, description.input_height)
    fast = half_precision_copy(network.eval())
    landmarks = landmarks_on_host(network)
    solvers = {
        'prediction alone': None,
        'pose from cells': DeviceSolver(resized, network.config.stride, None),
        'pose from landmarks': DeviceSolver(resized, network.config.stride, landmarks),
    }
    for name, solver in solvers.items():
        found = kernels(DeviceNetwork(fast, camera, resized, solver))
        common = ', '.join(f'{count} {kind}' for kind, count in found.most_common(6))
        Console(highlight=False).print(f'{name}: {found.total()} ({common}, ...)')


if __name__ == '__main__':
    main()
