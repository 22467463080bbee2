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
from implicit_loc.alignment import align
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork, camera_points
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.frames import evaluate, summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training import losses
from implicit_loc_trainer.training.augmentation import View
from implicit_loc_trainer.training.loading import Batch, TrainingSet, training_loader

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
        self.network = network
        self.description = description
        self.last_validation: ErrorSummary | None = None
        self._recipe = recipe
        self._first_epoch = 0
        self._training_set = training_set
        self._validation = validation
        self._report = report

    def train_dataloader(self) -> DataLoader[View]:
        """Batches of every epoch, made by helpers where a GPU waits for them."""
        on_gpu = self.trainer.strategy.root_device.type == 'cuda'
        return training_loader(
            self._training_set,
            self._recipe.optimizer.batch_size,
            self._recipe.run.seed,
            workers=_cuda_workers() if on_gpu else self._recipe.run.workers,
            # Helper processes are told their items before Lightning names a resumed epoch.
            epoch=self._first_epoch,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the last validation, for the header of a run that is already finished."""
        if self.last_validation is not None:
            checkpoint['last_validation'] = dataclasses.asdict(self.last_validation)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember where the interrupted run stood."""
        self._first_epoch = int(checkpoint['epoch']) + 1
        if 'last_validation' in checkpoint:
            self.last_validation = ErrorSummary(**checkpoint['last_validation'])

    def configure_optimizers(self) -> lightning.pytorch.utilities.types.OptimizerLRScheduler:
        """AdamW under one cycle over all steps; biases and norms are not decayed."""
        config = self._recipe.optimizer
        parameters = list(self.network.parameters())
        groups = [
            {
                'params': [p for p in parameters if p.ndim > 1],
                'weight_decay': config.weight_decay,
            },
            {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=config.learning_rate,
            total_steps=self._total_steps(),
            pct_start=config.warm_up_share,
        )
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The weighted loss of one batch."""
        terms = self._losses(batch)
        for name, value in terms._asdict().items():
            self.log(f'loss/{name}', value, prog_bar=name == 'total', on_epoch=True, on_step=False)
        return terms.total

    def on_train_epoch_end(self) -> None:
        """Validate every few epochs and after the last one."""
        epoch = self.current_epoch + 1
        due = epoch % self._recipe.run.validate_every == 0
        if self._validation and (due or epoch == self._recipe.optimizer.epochs):
            self.last_validation = self._validate()
            for name, value in self.last_validation.as_json().items():
                self.log(f'validation/{name}', math.inf if value is None else float(value))
            self._report(
                f'epoch {epoch}: validation median '
                f'{100 * self.last_validation.median_translation_m:.1f} cm, '
                f'{self.last_validation.median_rotation_deg:.2f} deg'
            )

    def _losses(self, batch: Batch) -> losses.Losses:
        config = self._recipe.loss
        predicted = self.network(preprocessing.normalise(batch.images), batch.focal_length)
        # The network may run in half precision; geometry never does.
        with torch.autocast(self.device.type, enabled=False):
            world = predicted.world_points.flatten(1, 2)
            rays, valid = batch.rays.flatten(1, 2), batch.valid.flatten(1)
            camera = camera_points(predicted.depth, batch.rays).flatten(1, 2)
            weights = torch.where(valid, predicted.weights.flatten(1), 0)
            true_pose = batch.world_from_camera
            progress = self.trainer.global_step / self._total_steps()
            return losses.combine(
                config,
                pose=losses.pose_loss(align(world, camera, weights), true_pose),
                consistency=losses.consistency_loss(world, camera, true_pose, valid),
                reprojection=losses.reprojection_loss(
                    world,
                    rays,
                    batch.focal_length,
                    true_pose,
                    valid,
                    tau_px=losses.curriculum_tau(config, progress),
                    fallback_depth=config.fallback_depth_share * self._recipe.network.far,
                ),
            )

    def _total_steps(self) -> int:
        config = self._recipe.optimizer
        return max(1, len(self._training_set) // config.batch_size * config.epochs)

    def _validate(self) -> ErrorSummary:
        # A copy: the Localizer puts its network into evaluation mode and its own memory format.
        localizer = Localizer(copy.deepcopy(self.network), self.description, str(self.device))
        return summary(evaluate(localizer, self._validation, shown=0).frames)


def _cuda_workers() -> int:
    return max(1, min(_MOST_CUDA_WORKERS, (os.cpu_count() or 2) - 1))
