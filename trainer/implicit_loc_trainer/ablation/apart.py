"""Trains and measures in a process of its own: one that crashes takes nobody with it."""

import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.ablation.measuring import measure
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.child_processes import end_with_parent
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.run_folder import STATE, locked
from implicit_loc_trainer.training.runs import train

LOG, _OUTCOME, _FAILURE = 'train.log', 'outcome.json', 'failure.txt'
_INTERRUPTED = 130


class RunError(ImplicitLocError):
    """A training or its measurement failed."""


@dataclass(frozen=True)
class Outcome:
    """What a run brought.

    Attributes:
        figures: as in Result.
        machine: that ran it.
    """

    figures: Mapping[str, float | None] = field(default_factory=dict)
    machine: str = ''


def train_apart(recipe: Recipe, scene: Scene, split: Path) -> Outcome:
    """Trains and measures; what is printed meanwhile goes to a file in the run's folder.

    Args:
        recipe: of the training.
        scene: to measure on.
        split: names of the frames to measure on.

    Raises:
        RunError: the process ended with an error.
        FolderInUseError: another training is in the run's folder.
        KeyboardInterrupt: a person ended it.
    """
    folder = Path(recipe.run.output)
    # A process that fails leaves a mere text: who is in the folder is asked before it starts.
    with locked(folder):
        for name in (_OUTCOME, _FAILURE):
            (folder / name).unlink(missing_ok=True)
    # A fork has all modules at hand, which otherwise take longer than a short training. CUDA may
    # not be touched before it: nothing here does.
    process = multiprocessing.get_context('fork').Process(
        target=_train_and_measure, args=(recipe, scene, split, folder)
    )
    process.start()
    process.join()
    if process.exitcode == _INTERRUPTED:
        raise KeyboardInterrupt
    if process.exitcode != 0:
        raise RunError(_reason(folder, process.exitcode or 0))
    values = json.loads((folder / _OUTCOME).read_text(encoding='utf-8'))
    return Outcome(**values)


def _reason(folder: Path, status: int) -> str:
    failure = folder / _FAILURE
    if failure.is_file():
        return failure.read_text(encoding='utf-8')
    if status < 0:
        return f'ended by signal {-status}, as for instance for want of memory'
    return f'exit status {status}; {folder / LOG} may say more'


def _train_and_measure(recipe: Recipe, scene: Scene, split: Path, folder: Path) -> None:
    """What the process does; its result is a file."""
    end_with_parent()
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        outcome = _outcome(recipe, scene, split, resumed=(folder / STATE).is_file())
        with replacing(folder / _OUTCOME) as temporary:
            temporary.write_text(json.dumps(asdict(outcome)), encoding='utf-8')
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        traceback.print_exc()
        kind = '' if isinstance(error, ImplicitLocError) else f'{type(error).__name__}: '
        with replacing(folder / _FAILURE) as temporary:
            temporary.write_text(f'{kind}{error}', encoding='utf-8')
        raise SystemExit(1) from error


def _outcome(recipe: Recipe, scene: Scene, split: Path, resumed: bool) -> Outcome:
    start = time.monotonic()
    checkpoint = train(recipe)
    # Of a training that went on, the time before is not known.
    seconds = None if resumed else time.monotonic() - start
    figures = measure(checkpoint, scene, split, recipe.run.device)
    return Outcome({'training_s': seconds, **figures}, _machine(recipe.run.device))


def _machine(device: str) -> str:
    if device != 'cpu' and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    processor = platform.processor() or platform.machine()
    return f'{processor}, {torch.get_num_threads()} of {os.cpu_count()} cores'
