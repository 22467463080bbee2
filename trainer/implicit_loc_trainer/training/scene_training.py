"""The training loop: a Lightning module that learns a place from images and poses alone."""

import copy
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from implicit_loc import preprocessing
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training import losses
from implicit_loc_trainer.training.augmentation import View
from implicit_loc_trainer.training.distributed.processes import gather_shares, own_share
from implicit_loc_trainer.training.freezing import freeze_stages
from implicit_loc_trainer.training.loading import Batch, TrainingSet, training_loader
from implicit_loc_trainer.training.moving_average import MovingAverage
from implicit_loc_trainer.training.objective import Objective
from implicit_loc_trainer.training.optimisation import build_optimizer
from implicit_loc_trainer.training.state_files import Position, position

# Rendering the views of a batch takes a tenth of a CPU's training step; a GPU needs helpers.
_MOST_CUDA_WORKERS = 8


class SceneTraining(lightning.LightningModule):
    """Losses, optimiser and validation of one training.

    Args:
        recipe: of the training.
        network: to train.
        description: of the checkpoint to be; validation runs through the same Localizer.
        training_set: views of the recording.
        validation: held-out frames; may be empty.
        report: takes a line for the person who watches.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: SceneNetwork,
        description: CheckpointDescription,
        training_set: TrainingSet,
        validation: Sequence[Sample],
        report: Callable[[str], None],
    ) -> None:
        super().__init__()
        freeze_stages(network, recipe.optimizer.frozen_stages)
        self.network = network
        self.description = description
        self.last_validation: ErrorSummary | None = None
        self._recipe = recipe
        self._objective = Objective(recipe)
        decay = recipe.optimizer.ema_decay
        self._average = MovingAverage(network, decay) if decay else None
        self._position = Position()
        self._training_set = training_set
        self._validation = validation
        self._report = report

    def train(self, mode: bool = True) -> 'SceneTraining':
        """Frozen stages never leave the evaluation mode: their batch statistics stay."""
        super().train(mode)
        freeze_stages(self.network, self._recipe.optimizer.frozen_stages)
        return self

    @property
    def learned_network(self) -> SceneNetwork:
        """What the training has learned so far: the average of the weights where one is kept."""
        return self.network if self._average is None else self._average.network

    @property
    def held_out(self) -> Sequence[Sample]:
        """The frames that are watched and never learned from; may be empty."""
        return self._validation

    def validates_now(self) -> bool:
        """Whether the epoch that ends is one of those after which held-out frames are measured."""
        epoch = self.current_epoch + 1
        due = epoch % self._recipe.run.validate_every == 0
        return bool(self._validation) and (due or epoch == self._recipe.optimizer.epochs)

    def train_dataloader(self) -> DataLoader[View]:
        """Batches of every epoch, made by helpers where a GPU waits for them."""
        on_gpu = self.trainer.strategy.root_device.type == 'cuda'
        return training_loader(
            self._training_set,
            self._recipe.optimizer.batch_size,
            self._recipe.run.seed,
            workers=_cuda_workers(self.trainer.num_devices)
            if on_gpu
            else self._recipe.run.workers,
            # Helper processes are told their items before Lightning names a resumed epoch.
            epoch=self._position.epoch,
            first_batch=self._position.batch,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the last validation, for the header of a run that is already finished."""
        if self.last_validation is not None:
            checkpoint['last_validation'] = dataclasses.asdict(self.last_validation)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the interrupted run stood."""
        self._position = position(checkpoint)
        if 'last_validation' in checkpoint:
            self.last_validation = ErrorSummary(**checkpoint['last_validation'])

    def configure_optimizers(self) -> lightning.pytorch.utilities.types.OptimizerLRScheduler:
        """The recipe's optimiser; its schedule goes on after every batch."""
        optimizer, schedule = build_optimizer(
            self._recipe.optimizer,
            self.network,
            self._total_steps(),
            fused=self.trainer.precision != '16-mixed',
        )
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm; Lightning's own refuses fused optimisers where precision is mixed.

        It takes their gradients for scaled ones. With bfloat16 nothing is scaled, and with
        float16 the optimiser is not a fused one.
        """
        if gradient_clip_val:
            groups = optimizer.param_groups
            parameters = [parameter for group in groups for parameter in group['params']]
            torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The weighted loss of one batch."""
        terms = self._losses(batch)
        for name, value in terms._asdict().items():
            shown = name == 'total'
            self.log(f'loss/{name}', value, shown, on_step=False, on_epoch=True, sync_dist=True)
        return terms.total

    def on_train_batch_end(self, _outputs: Any, _batch: Batch, _index: int) -> None:
        """Let the average of the weights follow."""
        if self._average is not None:
            self._average.update(self.network, self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        """Validate every few epochs and after the last one."""
        if self.validates_now():
            self.last_validation = self._validate()
            for name, value in self.last_validation.as_json().items():
                error = math.inf if value is None else float(value)
                self.log(f'validation/{name}', error, sync_dist=True)
            self._report(
                f'epoch {self.current_epoch + 1}: validation median '
                f'{100 * self.last_validation.median_translation_m:.1f} cm, '
                f'{self.last_validation.median_rotation_deg:.2f} deg'
            )

    def _losses(self, batch: Batch) -> losses.Losses:
        predicted = self.network(preprocessing.normalise(batch.images), batch.focal_length)
        # The network may run in half precision; geometry never does.
        with torch.autocast(self.device.type, enabled=False):
            progress = self.trainer.global_step / self._total_steps()
            return self._objective(predicted, batch, progress)

    def _total_steps(self) -> int:
        config = self._recipe.optimizer
        return max(1, len(self._training_set) // config.batch_size * config.epochs)

    def _validate(self) -> ErrorSummary:
        # A copy: the Localizer puts its network into evaluation mode and its own memory format.
        localizer = Localizer(
            copy.deepcopy(self.learned_network), self.description, str(self.device)
        )
        samples = own_share(self._validation)
        frames = evaluate(localizer, samples, shown=0).frames if samples else []
        return summary(gather_shares(frames))


def _cuda_workers(devices: int) -> int:
    """Helpers of one process; those of all devices share the machine's cores."""
    return max(1, min(_MOST_CUDA_WORKERS, (os.cpu_count() or 2) // devices - 1))
