"""How the network is executed. A new runtime is one file and one line in the table RUNTIMES."""

from implicit_loc.runtimes.base import Runtime, RuntimeStatus, RuntimeUnavailableError
from implicit_loc.runtimes.devices import select_device
from implicit_loc.runtimes.execution import AUTO, CHOICES, RUNTIMES, Execution

__all__ = [
    'AUTO',
    'CHOICES',
    'RUNTIMES',
    'Execution',
    'Runtime',
    'RuntimeStatus',
    'RuntimeUnavailableError',
    'select_device',
]
