"""Keeps a loss or gradient that is not finite away from the weights.

The update of such a batch does not happen: weights, optimiser state and batch statistics stay as
they were before it; the learning rate goes on to its next step. The batch is written down.
Where it happens again and again, the training stops.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.training.distributed.processes import sum_over_processes
from implicit_loc_trainer.training.loading import Batch, TrainingSet

BAD_BATCHES = 'bad_batches.jsonl'

_MOST_IN_A_ROW = 3
_LARGEST_SHARE_OF_AN_EPOCH = 0.01


class DivergedError(ImplicitLocError):
    """Loss or gradient are not finite too often."""


class _Verdict(NamedTuple):
    """On one update: whether it is bad, loss and norm of the gradient; and what it was."""

    figures: Tensor
    arrived: torch.cuda.Event | None
    frames: list[Tensor]
    epoch: int
    batch_index: int
    step: int


class WeightGuard(Callback):
    """Skips the updates of batches whose loss or gradient is not finite.

    On a GPU nothing waits for it: the decision is made there, and read a step later.

    Args:
        folder: of the run, for the list of bad batches.
        seed: of the training.
        report: takes a line for the person who watches.
    """

    def __init__(self, folder: Path, seed: int, report: Callable[[str], None]) -> None:
        self._file = folder / BAD_BATCHES
        self._seed = seed
        self._report = report
        self._losses: list[Tensor] = []
        self._frames: list[Tensor] = []
        self._figures: Tensor | None = None
        self._statistics = _Statistics([])
        self._pending: deque[_Verdict] = deque()
        self._in_a_row = 0
        self._in_epoch = 0

    def on_train_start(self, _: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Remember the batch statistics."""
        network = module.network
        assert isinstance(network, torch.nn.Module)
        self._statistics = _Statistics([b for b in network.buffers() if b.is_floating_point()])

    def on_before_backward(
        self, _: lightning.Trainer, _module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Keep the loss; several batches may make one update."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        """Decide whether this update happens."""
        parameters = [p for p in module.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        loss = torch.stack(self._losses).sum().float()
        self._losses.clear()
        # With float16, a gradient beyond its range is common: the scaler of the loss has skipped
        # the update by itself and lowers its factor.
        scaler = getattr(trainer.precision_plugin, 'scaler', None)
        sound = torch.isfinite(loss) & (torch.isfinite(norm) | (scaler is not None))
        bad = (~sound).float()
        if trainer.world_size > 1:
            # Gradients are shared: all processes skip an update, or none.
            bad = sum_over_processes(bad).clamp(max=1)
        self._figures = torch.stack([bad, loss, norm])
        if scaler is None:
            _skip_where(bad, optimizer, parameters)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        _module: lightning.LightningModule,
        _outputs: Any,
        batch: Batch,
        batch_index: int,
    ) -> None:
        """Undo what the batch did to the statistics; read the decisions that have arrived."""
        self._frames.append(batch.frames)
        if self._figures is None:
            return
        self._statistics.restore_where(self._figures[0])
        on_gpu = self._figures.is_cuda
        figures = self._figures.to('cpu', non_blocking=True)
        arrived = torch.cuda.Event() if on_gpu else None
        if arrived is not None:
            arrived.record()
        place = (trainer.current_epoch, batch_index, trainer.global_step)
        self._pending.append(_Verdict(figures, arrived, self._frames, *place))
        self._figures, self._frames = None, []
        self._read(trainer, keep=1 if on_gpu else 0)

    def on_train_epoch_end(self, trainer: lightning.Trainer, _: lightning.LightningModule) -> None:
        """Read the rest."""
        self._read(trainer, keep=0)
        self._in_epoch = 0

    def _read(self, trainer: lightning.Trainer, keep: int) -> None:
        while len(self._pending) > keep:
            verdict = self._pending.popleft()
            if verdict.arrived is not None:
                verdict.arrived.synchronize()
            if not verdict.figures[0]:
                self._in_a_row = 0
                continue
            self._in_a_row += 1
            self._in_epoch += 1
            text = self._write_down(trainer, verdict)
            share = _LARGEST_SHARE_OF_AN_EPOCH * float(trainer.num_training_batches)
            if self._in_a_row >= _MOST_IN_A_ROW or self._in_epoch > max(_MOST_IN_A_ROW, share):
                raise DivergedError(
                    f'{text}; it is the {_ordinal(self._in_epoch)} such batch of this epoch: '
                    'lower optimizer.learning_rate, or look at these frames'
                )
            self._report(f'{text}: its update is skipped')

    def _write_down(self, trainer: lightning.Trainer, verdict: _Verdict) -> str:
        """Adds the batch to the list; returns a line about it."""
        frames = torch.cat(verdict.frames).tolist()
        loader = trainer.train_dataloader
        assert loader is not None
        dataset: TrainingSet = loader.dataset
        _, loss, norm = verdict.figures.tolist()
        entry = {
            'epoch': verdict.epoch,
            'batch': verdict.batch_index,
            'step': verdict.step,
            'process': trainer.global_rank,
            'seed': self._seed,
            'loss': str(loss),
            'gradient_norm': str(norm),
            'frames': [dataset.name(frame) for frame in frames],
        }
        with self._file.open('a', encoding='utf-8') as file:
            file.write(json.dumps(entry) + '\n')
        return (
            f'epoch {verdict.epoch}, batch {verdict.batch_index}: the loss is {loss:g}, the norm '
            f'of the gradient {norm:g} (frames in {self._file})'
        )


class _Statistics:
    """Running statistics of a network, as one tensor: few operations a step."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self._buffers = buffers
        self._kept = self._joined()

    def restore_where(self, bad: Tensor) -> None:
        """Take back the changes since the last call where `bad` is not zero."""
        if not self._buffers:
            return
        self._kept = torch.where(bad > 0, self._kept, self._joined())
        parts = self._kept.split([buffer.numel() for buffer in self._buffers])
        shaped = [part.view_as(old) for part, old in zip(parts, self._buffers, strict=True)]
        torch._foreach_copy_(self._buffers, shaped)

    def _joined(self) -> Tensor:
        flat = [buffer.detach().reshape(-1) for buffer in self._buffers]
        return torch.cat(flat) if flat else torch.empty(0)


def _skip_where(bad: Tensor, optimizer: Optimizer, parameters: Sequence[Parameter]) -> None:
    if all(group.get('fused') for group in optimizer.param_groups):
        # Made for the scaler of float16: the fused step leaves weights and state as they are.
        vars(optimizer)['found_inf'] = bad
    elif bad:
        # What has no gradient is not touched; finding out waits for the device.
        for parameter in parameters:
            parameter.grad = None


def _ordinal(count: int) -> str:
    return {1: 'first', 2: 'second', 3: 'third'}.get(count, f'{count}th')
