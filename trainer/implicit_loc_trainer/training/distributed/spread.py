"""How Lightning runs a training as one of several processes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TypeVar

import torch
from lightning import Trainer
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from implicit_loc_trainer.training.distributed.batch_norm import (
    BatchNorm,
    GlobalBatchNorm2d,
    exchange,
)
from implicit_loc_trainer.training.distributed.placement import Placement

# One process may wait for another that decodes a large recording.
_PATIENCE = timedelta(hours=2)

Root = TypeVar('Root', bound=nn.Module)


class GlobalStatistics(LayerSync):
    """Gives a network's batch norms global statistics while several processes train it.

    Parameters, buffers and their names stay what they are, so do states and checkpoints.

    Args:
        on_gpu: whether PyTorch's own fast kernels can be used.
    """

    def __init__(self, on_gpu: bool) -> None:
        self._kind: type[BatchNorm] = nn.SyncBatchNorm if on_gpu else GlobalBatchNorm2d

    def apply(self, model: Root) -> Root:
        """Before the training."""
        exchange(model, nn.BatchNorm2d, self._kind)
        return model

    def revert(self, model: Root) -> Root:
        """After the training."""
        exchange(model, self._kind, nn.BatchNorm2d)
        return model


def spread_strategy() -> DDPStrategy:
    """How Lightning spreads a training over several processes."""
    return DDPStrategy(
        timeout=_PATIENCE,
        # A term of the loss that is off, or waits for its phase, leaves a head without gradient.
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
    )


@contextlib.contextmanager
def only_first_prints(place: Placement) -> Iterator[None]:
    """Inside, processes other than the first print nothing to the standard output."""
    if place.processes == 1 or place.environment().global_rank() == 0:
        yield
        return
    with open(os.devnull, 'w', encoding='utf-8') as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def connect(trainer: Trainer, place: Placement) -> None:
    """Connect the processes before Lightning does, so that the first can prepare for all."""
    if place.processes == 1:
        return
    if not place.on_gpu and 'OMP_NUM_THREADS' not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // place.devices))
    # Lightning announces in five lines that the processes found each other.
    for name in ('lightning.pytorch', 'lightning.fabric'):
        logging.getLogger(name).setLevel(logging.WARNING)
    trainer.strategy.setup_environment()
