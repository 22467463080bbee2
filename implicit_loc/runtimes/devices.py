"""Devices of PyTorch by name."""

import torch

from implicit_loc.errors import ImplicitLocError


def select_device(name: str) -> torch.device:
    """The device of a name: 'auto' (CUDA where there is one), 'cpu', 'cuda' or 'cuda:N'.

    Raises:
        ImplicitLocError: it is not there, or no such device is supported.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ImplicitLocError(
            f'the device {name!r} is not known: use auto, cpu, cuda or cuda:N'
        ) from error
    if device.type not in ('cpu', 'cuda'):
        raise ImplicitLocError(f'the device {name!r} is not supported: use auto, cpu or cuda')
    if device.type == 'cuda':
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ImplicitLocError(
                f'the device {name} was asked for, but PyTorch sees {count} CUDA devices: '
                'use auto or cpu, or install the NVIDIA driver'
            )
    return device
