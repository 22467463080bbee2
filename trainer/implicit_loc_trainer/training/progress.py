"""What a person sees of a training: a bar with speed and time left, and a line per validation."""

import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Where nobody watches a bar, a line now and then goes to the log.
_SECONDS_BETWEEN_LINES = 60.0
_SECONDS_BETWEEN_UPDATES = 0.2


class TrainingProgress(Callback):
    """One bar over the whole training; plain lines where the output is no terminal."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._console = Console(file=sys.stdout)
        self._bar: Progress | None = None
        self._started = self._last_line = time.monotonic()
        self._first_step = 0

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Open the bar at the step where the training begins or goes on."""
        self._started = self._last_line = time.monotonic()
        self._first_step = trainer.global_step
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn('epoch {task.fields[epoch]}'),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn('{task.fields[speed]:.1f} images/s  loss {task.fields[loss]:.3f}'),
                TimeElapsedColumn(),
                TextColumn('left'),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bar.add_task(
                'training',
                total=int(trainer.estimated_stepping_batches),
                completed=trainer.global_step,
                epoch=0,
                speed=0.0,
                loss=0.0,
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
        now = time.monotonic()
        # Reading the loss waits for the GPU: a few times a second is enough for the eye.
        period = _SECONDS_BETWEEN_LINES if self._bar is None else _SECONDS_BETWEEN_UPDATES
        if now - self._last_line < period and trainer.global_step > self._first_step + 1:
            return
        self._last_line = now
        steps = trainer.global_step - self._first_step
        speed = steps * self._batch_size / max(now - self._started, 1e-6)
        loss = float(outputs['loss'])
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=trainer.global_step,
                epoch=trainer.current_epoch,
                speed=speed,
                loss=loss,
            )
            return
        left = (trainer.estimated_stepping_batches - trainer.global_step) * self._batch_size
        self._console.print(
            f'epoch {trainer.current_epoch} of {trainer.max_epochs}: {speed:.1f} images/s, '
            f'loss {loss:.3f}, {left / max(speed, 1e-6) / 60:.0f} min left'
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
