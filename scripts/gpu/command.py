"""Does what a CUDA GPU is to be checked and measured by, and sums it up."""

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from replay.arguments import add_map
from replay.child_process import Child, running
from replay.ending import exit_status

from gpu.steps import STEPS, WATCHED, Command
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.child_processes import ProcessError
from implicit_loc_trainer.commands.common import count, positive
from implicit_loc_trainer.output_files import check_writable, replacing

_LOOK_EVERY_S = 0.5
# Once a second, of each GPU.
_UTILIZATION = ('--query-gpu=utilization.gpu', '--format=csv', '--loop=1')


@dataclass(frozen=True)
class Done:
    """What became of a step.

    Attributes:
        name: of the step.
        result: in words; 'ok' where it did what it should.
        seconds: that it took.
    """

    name: str
    result: str
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the steps; known errors end in one line and exit status 1."""
    parsed = _parser().parse_args(arguments)
    return exit_status(lambda: measure(parsed), parsed.output, _say)


def measure(parsed: argparse.Namespace) -> None:
    """Do every step, whatever becomes of the others; the summary is written after each.

    Raises:
        ImplicitLocError: there is no CUDA device, the checkpoint cannot be used, or a step failed.
        OSError: an output cannot be written.
    """
    if not torch.cuda.is_available():
        raise ImplicitLocError('there is no CUDA device: nothing can be measured here')
    load_checkpoint(parsed.checkpoint)
    do_all({name: STEPS[name](parsed) for name in parsed.steps}, parsed.output, parsed.minutes)


def do_all(commands: Mapping[str, Command], output: Path, minutes: float) -> None:
    """Do steps one after the other.

    Args:
        commands: by the names of the steps.
        output: folder for the summary and a log of each.
        minutes: after which a step is stopped.

    Raises:
        ImplicitLocError: a step failed or was stopped; the others have been done.
        OSError: an output cannot be written.
    """
    check_writable(output / 'log')
    done: list[Done] = []
    for name, command in commands.items():
        _say(f'{name}: {minutes:g} minutes at most')
        done.append(_do(name, command, output / f'{name}.log', minutes))
        _say(f'{name}: {done[-1].result}, {done[-1].seconds:.0f} s')
        with replacing(output / 'summary.md') as temporary:
            temporary.write_text(_summary(done, output), encoding='utf-8')
    failed = [step.name for step in done if step.result != 'ok']
    if failed:
        raise ImplicitLocError(f'not done: {", ".join(failed)}; see {output / "summary.md"}')


def _do(name: str, command: Command, log: Path, minutes: float) -> Done:
    start = time.monotonic()
    environment = os.environ | {'PYTHONUNBUFFERED': '1'}
    with _watched(name, log), running(name, command, log, environment) as child:
        result = _awaited(child, start + 60 * minutes)
    if result == '':
        result = f'stopped after {minutes:g} minutes; last said: {child.last_line()}'
    return Done(name, result, time.monotonic() - start)


def _watched(name: str, log: Path) -> AbstractContextManager[object]:
    """Notes how busy the GPU is meanwhile, where the step asks for it and the machine can tell."""
    program = shutil.which('nvidia-smi')
    if name not in WATCHED or program is None:
        return nullcontext()
    return running(program, [program, *_UTILIZATION], log.with_suffix('.utilization.csv'))


def _awaited(child: Child, deadline: float) -> str:
    """What became of a process; nothing where it still runs at the deadline."""
    try:
        while not child.has_ended():
            if time.monotonic() > deadline:
                return ''
            time.sleep(_LOOK_EVERY_S)
    except ProcessError as error:
        return str(error)
    return 'ok'


def _summary(done: Sequence[Done], output: Path) -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device'
    lines = [
        f'# {device}',
        '',
        f'torch {torch.__version__}, CUDA {torch.version.cuda}, Python '
        f'{platform.python_version()}, {os.cpu_count()} CPU cores',
        '',
        '| step | result | seconds |',
        '|---|---|---|',
        *(f'| {step.name} | {step.result} | {step.seconds:.0f} |' for step in done),
        '',
        f'What each step said is in `{output}/STEP.log`.',
        '',
    ]
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='measure_gpu', description=__doc__)
    add = parser.add_argument
    add('output', metavar='OUTPUT_FOLDER', type=Path, help='for figures, logs and summary.md')
    add_map(parser)
    add(
        '--steps',
        metavar='S,...',
        type=_names,
        default=list(STEPS),
        help=f'of {", ".join(STEPS)} (default: all)',
    )
    add(
        '--minutes',
        metavar='M',
        type=positive,
        default=9.0,
        help='for each step at most (default: 9)',
    )
    add('--epochs', metavar='N', type=count, default=100, help='of each training')
    return parser


def _names(text: str) -> list[str]:
    names = text.split(',')
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is not one of {", ".join(STEPS)}')
    return names


def _say(text: str) -> None:
    print(f'measure_gpu: {text}', file=sys.stderr)
