"""Training one scene in a process of its own, so that its crash stops nothing else."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.errors import CheckpointError
from implicit_loc_trainer.many import scene_process
from implicit_loc_trainer.many.scenes import FAILED, FINISHED, INTERRUPTED, Outcome, Scene

LOG = 'output.log'
PROGRAM = (sys.executable, '-m', scene_process.__name__)

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_TO_STOP = 60.0
_INTERRUPTED = 130
_TAIL_BYTES = 4000


@dataclass(frozen=True)
class Job:
    """All that another machine must know to train a scene.

    Attributes:
        scene: to train.
        arguments: of `implicit-loc train`; paths that every machine can read.
        working_directory: to which paths in the recipe are relative.
        minutes_before: of earlier calls.
        program: that trains, before its arguments.
    """

    scene: Scene
    arguments: tuple[str, ...]
    working_directory: str
    minutes_before: float = 0.0
    program: tuple[str, ...] = field(default_factory=lambda: PROGRAM)


def train_scene(job: Job, watch: Callable[[str], None] | None = None) -> Outcome:
    """Train a scene, or go on with it; whatever happens to it is in the outcome.

    Args:
        job: what to train.
        watch: takes the last line of the training's output once a second.
    """
    started = time.monotonic()
    log = job.scene.folder / LOG
    try:
        status = _run(job, log, watch)
    except OSError as error:
        status, words = -1, str(error)
    else:
        words = _last_words(log)
    return _outcome(job, status, words, (time.monotonic() - started) / 60)


def finished(scene: Scene, state: str, minutes: float) -> Outcome:
    """The outcome of a scene that has its checkpoint.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = scene.folder / 'checkpoint.safetensors'
    figures = load_checkpoint(path)[1].validation
    return Outcome(
        name=scene.name,
        data=scene.data,
        state=state,
        median_translation_m=figures.get('median_translation_m'),
        median_rotation_deg=figures.get('median_rotation_deg'),
        minutes=minutes,
        log=str(scene.folder / LOG),
        checkpoint=str(path),
    )


def _run(job: Job, log: Path, watch: Callable[[str], None] | None) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [*job.program, *job.arguments]
    with log.open('ab') as output:
        process = subprocess.Popen(
            command,
            cwd=job.working_directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches this process alone, which stops the training once and waits for it.
            start_new_session=True,
        )
        try:
            while True:
                try:
                    return process.wait(_SECONDS_BETWEEN_LOOKS)
                except subprocess.TimeoutExpired:
                    if watch is not None:
                        watch(_last_words(log))
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
            return _INTERRUPTED
        finally:
            process.kill()
            process.wait()


def _outcome(job: Job, status: int, words: str, minutes: float) -> Outcome:
    minutes += job.minutes_before
    if status == 0:
        try:
            return finished(job.scene, FINISHED, minutes)
        except CheckpointError as error:
            words = str(error)
    if status < -1:
        words = f'ended by {_signal_name(-status)}' + (
            ': the machine may have run out of memory' if -status == signal.SIGKILL else ''
        )
    return Outcome(
        name=job.scene.name,
        data=job.scene.data,
        state=INTERRUPTED if status == _INTERRUPTED else FAILED,
        minutes=minutes,
        message=words.removeprefix('implicit-loc train: '),
        log=str(job.scene.folder / LOG),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f'signal {number}'


def _last_words(log: Path) -> str:
    """The last line that a training printed; empty if none."""
    with log.open('rb') as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
        lines = file.read().decode(errors='replace').splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), '')
