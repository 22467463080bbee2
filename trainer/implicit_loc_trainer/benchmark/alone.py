"""What one candidate needs in a process of its own: memory, and time until its first answer."""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from implicit_loc.errors import ImplicitLocError
from implicit_loc.runtimes import select_device
from implicit_loc_trainer.benchmark.candidates import Setting, Subject, build
from implicit_loc_trainer.benchmark.views import View
from implicit_loc_trainer.child_processes import end_with_parent

_RUNS = 5


class AloneError(ImplicitLocError):
    """The process of a candidate failed."""


@dataclass(frozen=True)
class Needs:
    """What a process takes that does nothing else.

    Attributes:
        peak_mb: the largest resident memory, 10^6 bytes: Python, its libraries and the network;
            None where the system does not tell.
        device_peak_mb: what PyTorch reserved on the GPU; 0 without one.
        start_s: from its start to its first answer: imports, loading, the first image.
    """

    peak_mb: float | None
    device_peak_mb: float
    start_s: float


def needs(subject: Subject, setting: Setting, view: View) -> Needs:
    """Run a candidate a few times in a process of its own.

    Raises:
        AloneError: the process failed; with its reason.
    """
    # A fresh interpreter: a forked one would begin with this process's memory.
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(sender, subject, setting, view, time.time()), daemon=True
    )
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError:
        process.join()
        raise AloneError(
            f'the process of {subject.name} ({subject.runtime}) ended with status '
            f'{process.exitcode}: the machine may have run out of memory'
        ) from None
    finally:
        process.kill()
        process.join()
    if isinstance(found, ImplicitLocError):
        raise found
    assert isinstance(found, Needs)
    return found


def _answer(
    sender: Connection, subject: Subject, setting: Setting, view: View, started: float
) -> None:
    end_with_parent()
    try:
        run = build(subject, setting)
        run.prepare(view)
        run.answer(view)
        start_s = time.time() - started
        for _ in range(_RUNS - 1):
            run.answer(view)
    except ImplicitLocError as error:
        sender.send(error)
        return
    sender.send(Needs(_peak_mb(), _device_peak_mb(setting.device), start_s))


def _peak_mb() -> float | None:
    """The largest resident memory of this process.

    getrusage would tell that of the process that started this one, where it was larger.
    """
    status = Path('/proc/self/status')
    if not status.is_file():
        return None
    for line in status.read_text(encoding='ascii').splitlines():
        if line.startswith('VmHWM'):
            return 1024 * int(line.split()[1]) / 1e6
    return None


def _device_peak_mb(device: str) -> float:
    is_cuda = select_device(device).type == 'cuda'
    return torch.cuda.max_memory_reserved() / 1e6 if is_cuda else 0.0
