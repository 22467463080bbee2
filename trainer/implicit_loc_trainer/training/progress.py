"""What a person sees of a training: a bar with speed and time left, and a line per validation."""

import sys
import time
from collections import deque
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

# Where nobody watches a bar, a line now and then goes to the log.
_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_UPDATES = 0.2
# The speed is that of the last minute; the time left also counts what validations take.
_SPEED_SECONDS = 60.0
_PACE_SECONDS = 900.0


class Pace:
    """Steps per second over the last so many seconds.

    Args:
        seconds: that are looked back.
        now: a clock's time, seconds.
        step: where the training stands; a resumed one does not begin at 0.
    """

    def __init__(self, seconds: float, now: float, step: int) -> None:
        self._seconds = seconds
        self._marks = deque([(now, step)])

    def update(self, now: float, step: int) -> float:
        """Steps per second until now; 0 while nothing is known."""
        self._marks.append((now, step))
        while len(self._marks) > 2 and self._marks[1][0] <= now - self._seconds:
            self._marks.popleft()
        first_time, first_step = self._marks[0]
        return (step - first_step) / (now - first_time) if now > first_time else 0.0


def duration_text(seconds: float) -> str:
    """A time left, such as '2 h 05 min', '12 min' or '40 s'."""
    if seconds < 60:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    return f'{minutes // 60} h {minutes % 60:02d} min' if minutes >= 60 else f'{minutes} min'


class TrainingProgress(Callback):
    """One bar over the whole training; plain lines where the output is no terminal."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._console = Console(file=sys.stdout)
        self._bar: Progress | None = None
        self._last_line = 0.0
        self._first_step = 0
        self._speed = self._pace = Pace(_SPEED_SECONDS, 0.0, 0)

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Open the bar at the step where the training begins or goes on."""
        now = self._last_line = time.monotonic()
        self._first_step = trainer.global_step
        self._speed = Pace(_SPEED_SECONDS, now, trainer.global_step)
        self._pace = Pace(_PACE_SECONDS, now, trainer.global_step)
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn('epoch {task.fields[epoch]}'),
                BarColumn(),
                TextColumn('{task.percentage:.0f} %'),
                TextColumn('{task.fields[figures]}'),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.add_task(
                'training',
                total=int(trainer.estimated_stepping_batches),
                completed=trainer.global_step,
                epoch=_epoch(trainer),
                figures='',
            )
            self._bar.start()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        outputs: Any,
        _batch: Any,
        _batch_index: int,
    ) -> None:
        """Advance the bar, or print a line once a minute."""
        now, step = time.monotonic(), trainer.global_step
        # Reading the loss waits for the GPU: a few times a second is enough for the eye.
        period = _SECONDS_BETWEEN_LINES if self._bar is None else _SECONDS_BETWEEN_UPDATES
        if now - self._last_line < period and step > self._first_step + 1:
            return
        self._last_line = now
        speed = self._speed.update(now, step) * self._batch_size
        pace = self._pace.update(now, step)
        steps_left = trainer.estimated_stepping_batches - step
        left = duration_text(steps_left / pace) if pace > 0.0 else 'unknown time'
        figures = f'{speed:.1f} images/s, loss {float(outputs["loss"]):.3f}, {left} left'
        if self._bar is None:
            self._console.print(f'epoch {_epoch(trainer)}: {figures}', highlight=False)
            return
        self._bar.update(
            self._bar.task_ids[0], completed=step, epoch=_epoch(trainer), figures=figures
        )

    def report(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text)

    def on_train_end(self, _: lightning.Trainer, _module: lightning.LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, _: lightning.Trainer, _module: lightning.LightningModule, _error: BaseException
    ) -> None:
        """Close the bar, so that the terminal is usable."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _epoch(trainer: lightning.Trainer) -> str:
    """As people count: the first is 1."""
    return f'{trainer.current_epoch + 1} of {trainer.max_epochs}'
