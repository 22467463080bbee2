"""A GPU that runs out of memory or disappears is no defect of the program."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from implicit_loc.runtimes.base import RuntimeUnavailableError

# CUDA and its libraries raise RuntimeErrors and subclasses that differ between versions of
# PyTorch; all name whose failure it was.
_FAILING = ('CUDA', 'cuDNN', 'CUDNN', 'CUBLAS', 'cuBLAS', 'CUSOLVER', 'cusolver', 'NVML')
# Some name nobody: the second is what cuDNN makes of it in a convolution.
_OUT_OF_MEMORY = ('out of memory', 'unable to find an engine', 'ALLOC_FAILED')


class DeviceMemoryError(RuntimeUnavailableError):
    """A device lacks memory; it may have more another time."""


@contextmanager
def device_failures(device: torch.device) -> Iterator[None]:
    """Turns a failure of a CUDA device into one that lets another runtime take over.

    Raises:
        DeviceMemoryError: the device is out of memory.
        RuntimeUnavailableError: it is gone, or refuses something.
    """
    outside = sys.exc_info()[1]
    try:
        yield
    except RuntimeError as error:
        texts = _texts(error, outside)
        if device.type != 'cuda' or not any(
            name in text for name in (*_FAILING, *_OUT_OF_MEMORY) for text in texts
        ):
            raise
        lacks_memory = any(name in texts[-1] for name in _OUT_OF_MEMORY)
        kind = DeviceMemoryError if lacks_memory else RuntimeUnavailableError
        raise kind(f'{device} failed ({texts[-1].splitlines()[0]})') from error


def _texts(error: BaseException | None, outside: BaseException | None) -> list[str]:
    """Of an error and those that led to it: a capture that failed ends in an error of its own.

    Args:
        error: the last one.
        outside: what was being handled before, and has led to nothing here.
    """
    texts = []
    while isinstance(error, RuntimeError) and error is not outside:
        texts.append(str(error).strip())
        error = error.__cause__ or error.__context__
    return [text for text in texts if text]
