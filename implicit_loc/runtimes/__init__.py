"""How the network is executed. A new runtime is one file and one line in the table RUNTIMES."""

from implicit_loc.runtimes.base import (
    Prediction,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
    Solving,
)
from implicit_loc.runtimes.devices import select_device
from implicit_loc.runtimes.execution import AUTO, CHOICES, RUNTIMES, Execution

__all__ = [
    'AUTO',
    'CHOICES',
    'RUNTIMES',
    'Execution',
    'Prediction',
    'Runtime',
    'RuntimeStatus',
    'RuntimeUnavailableError',
    'Solving',
    'select_device',
]
