"""Lightning's trainer, set up for a recipe and the machine."""

import logging
import warnings
from pathlib import Path
from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.distributed.placement import Placement
from implicit_loc_trainer.training.distributed.spread import GlobalStatistics, spread_strategy
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.run_folder import STATE
from implicit_loc_trainer.training.state_files import AtomicState, ExactResume
from implicit_loc_trainer.training.watching import TensorBoardLog, Watching
from implicit_loc_trainer.training.weight_guard import WeightGuard


def lightning_trainer(
    recipe: Recipe,
    folder: Path,
    progress: TrainingProgress,
    place: Placement,
) -> lightning.Trainer:
    """Devices, precision, state files and log of a run."""
    # Lightning's advice is for other trainings: views come from one process on a CPU on purpose,
    # batches may be few, the folder of a resumed run is never empty, and our loader goes on in the
    # middle of an epoch; frozen stages stay in evaluation mode.
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    for advice in (
        'does not have many workers',
        'number of training batches',
        'is not empty',
        'ended before the epoch ended',
        'LeafSpec',
        'on epoch level in distributed setting',
        'in eval mode',
    ):
        warnings.filterwarnings('ignore', message=f'.*{advice}.*')
    tensorboard = TensorBoardLog(folder, progress.report)
    return lightning.Trainer(
        accelerator='cuda' if place.on_gpu else 'cpu',
        devices=place.devices,
        num_nodes=place.machines,
        strategy=spread_strategy() if place.processes > 1 else 'auto',
        # The loader itself gives each process its share of every batch.
        use_distributed_sampler=False,
        precision=_precision(place.on_gpu),
        max_epochs=recipe.optimizer.epochs,
        gradient_clip_val=recipe.optimizer.clip_gradient,
        callbacks=[
            progress,
            Watching(recipe.optimizer.batch_size, tensorboard),
            ExactResume(folder / STATE, recipe.run.seed, recipe.run.save_every_minutes),
            WeightGuard(folder, recipe.run.seed, progress.report),
            ModelCheckpoint(
                dirpath=folder,
                filename=Path(STATE).stem,
                save_top_k=1,
                every_n_epochs=1,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
        ],
        plugins=[AtomicState(), place.environment(), *_statistics(place)],
        logger=[CSVLogger(str(folder), name='log'), tensorboard],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
    )


def _statistics(place: Placement) -> list[GlobalStatistics]:
    return [GlobalStatistics(place.on_gpu)] if place.processes > 1 else []


def _precision(on_gpu: bool) -> Literal['32-true', 'bf16-mixed', '16-mixed']:
    if not on_gpu:
        return '32-true'
    # bfloat16 needs no loss scaling; GPUs before Ampere only emulate it.
    return 'bf16-mixed' if torch.cuda.get_device_capability()[0] >= 8 else '16-mixed'
