"""Which runtimes there are on this machine, and whether one was really used."""

from pathlib import Path

from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc.runtimes import RUNTIMES, RuntimeStatus

EAGER = 'eager'
ONNX = 'onnx'
# Those by which PyTorch executes the network.
PYTORCH = (EAGER, 'cuda_graph')

# Part of the exact name of every runtime that executes PyTorch's operations one by one.
_EAGER_NAME = ' eager on '


class RuntimeNotUsedError(ImplicitLocError):
    """Another runtime than the one to be timed executes the network."""


def missing_runtimes(checkpoint: Path, device: str) -> dict[str, str]:
    """Why runtimes do not execute a checkpoint here, by their names; the others do.

    Raises:
        ImplicitLocError: the checkpoint cannot be read, or there is no such device.
    """
    found = {}
    for name in RUNTIMES:
        localizer = Localizer.load(checkpoint, device, runtime=name)
        if localizer.runtime.note:
            # It has given way to another one at once.
            found[name] = localizer.runtime.note
            continue
        localizer.warm_up()
        try:
            require_used(name, localizer.runtime)
        except RuntimeNotUsedError as error:
            found[name] = str(error)
    return found


def require_used(runtime: str, status: RuntimeStatus) -> None:
    """Refuse to time a runtime that has given way to another one.

    Args:
        runtime: a key of RUNTIMES.
        status: of the localizer that was asked for it, when it is warm.

    Raises:
        RuntimeNotUsedError: with the reason.
    """
    if runtime != EAGER and _EAGER_NAME in status.name:
        raise RuntimeNotUsedError(f'the runtime {runtime} does not work here: {status.note}')
