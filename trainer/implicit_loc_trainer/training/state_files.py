"""The state from which an interrupted training goes on, exactly as if nothing had been."""

import io
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback

from implicit_loc_trainer.output_files import replacing

_POSITION = 'implicit_loc_position'

# Clocks differ between machines: all must write the state after the same step. They agree on it
# this seldom, because agreeing takes a message.
_STEPS_BETWEEN_AGREEMENTS = 16


class Position(NamedTuple):
    """The first batch that a state has not seen."""

    epoch: int = 0
    batch: int = 0


def position(checkpoint: dict[str, Any]) -> Position:
    """Where a training goes on from a state."""
    # States of earlier versions were written at the end of epochs alone.
    return Position(*checkpoint.get(_POSITION, (int(checkpoint['epoch']) + 1, 0)))


class AtomicState(TorchCheckpointIO):
    """Replaces a state only by a whole one.

    Lightning writes to the system's temporary folder and moves the file; where that is another
    file system, the move is a copy, which a full disk or a kill leaves in half.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside the target, then rename.

        Raises:
            OSError: the file cannot be written; an earlier one is untouched.
        """
        # In memory first: on a full disk torch's own writer ends in an error about its archive.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(Path(path)) as temporary, temporary.open('wb') as file:
            file.write(content.getbuffer())
            file.flush()
            # A loss of power may otherwise keep the new name and lose the bytes.
            os.fsync(file.fileno())


class ExactResume(Callback):
    """Writes states within long epochs, and makes each step follow from the state alone.

    A state is written before a step, when all that belongs to the last one is done. Networks
    that draw random numbers (dropout) draw them from (seed, step): how often a training was
    interrupted does not matter.

    Args:
        state: file of the state.
        seed: of the training.
        save_every_minutes: between states; 0 = none but those that others write.
    """

    def __init__(self, state: Path, seed: int, save_every_minutes: float) -> None:
        self._state = state
        self._seed = seed
        self._seconds = 60.0 * save_every_minutes
        self._saved = time.monotonic()
        self._next = Position()

    def on_train_start(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """The first interval begins when the frames are read."""
        self._saved = time.monotonic()

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        _batch: Any,
        batch_index: int,
    ) -> None:
        """Write the state if it is time; choose this step's random numbers."""
        self._next = Position(trainer.current_epoch, batch_index)
        # A gradient of earlier batches that waits for its step is not part of a state.
        is_between_steps = batch_index % trainer.accumulate_grad_batches == 0
        if batch_index and is_between_steps and self._is_due(trainer):
            trainer.save_checkpoint(self._state)
        source = np.random.SeedSequence((self._seed, *self._next, trainer.global_rank))
        torch.manual_seed(int(source.generate_state(1)[0]))

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """A state written from here on is of the next epoch."""
        self._next = Position(trainer.current_epoch + 1)

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Say where to go on."""
        self._saved = time.monotonic()
        checkpoint[_POSITION] = tuple(self._next)

    def _is_due(self, trainer: lightning.Trainer) -> bool:
        if not self._seconds:
            return False
        due = time.monotonic() - self._saved > self._seconds
        if trainer.world_size == 1:
            return due
        if trainer.global_step % _STEPS_BETWEEN_AGREEMENTS:
            return False
        return bool(trainer.strategy.broadcast(due))
