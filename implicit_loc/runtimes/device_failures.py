"""A GPU that runs out of memory or disappears is no defect of the program."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from implicit_loc.runtimes.base import RuntimeUnavailableError

# CUDA and its libraries raise RuntimeErrors and subclasses that differ between versions of
# PyTorch; all name whose failure it was.
_FAILING = ('CUDA', 'cuDNN', 'CUDNN', 'CUBLAS', 'cuBLAS', 'CUSOLVER', 'cusolver', 'NVML')


@contextmanager
def device_failures(device: torch.device) -> Iterator[None]:
    """Turns a failure of a CUDA device into one that lets another runtime take over.

    Raises:
        RuntimeUnavailableError: the device is out of memory or gone.
    """
    try:
        yield
    except RuntimeError as error:
        if device.type != 'cuda' or not any(name in str(error) for name in _FAILING):
            raise
        reason = str(error).strip().splitlines()[0]
        raise RuntimeUnavailableError(f'{device} failed ({reason})') from error
