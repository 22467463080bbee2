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
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.state_files import AtomicState


def lightning_trainer(
    recipe: Recipe, folder: Path, progress: TrainingProgress
) -> lightning.Trainer:
    """Device, precision, state files and log of a run.

    Raises:
        ConfigError: the recipe asks for a device that is not there.
    """
    device = recipe.run.device
    if device not in ('auto', 'cpu', 'cuda'):
        raise ConfigError(f'run.device is {device!r}; it must be auto, cpu or cuda')
    on_gpu = torch.cuda.is_available() and device != 'cpu'
    if device == 'cuda' and not on_gpu:
        raise ConfigError('run.device is cuda, but PyTorch sees no CUDA device')
    # Lightning's advice is for other trainings: views come from one process on a CPU on purpose,
    # batches may be few, and the folder of a resumed run is never empty.
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    for advice in (
        'does not have many workers',
        'number of training batches',
        'is not empty',
        'LeafSpec',
    ):
        warnings.filterwarnings('ignore', message=f'.*{advice}.*')
    return lightning.Trainer(
        accelerator='cuda' if on_gpu else 'cpu',
        devices=1,
        precision=_precision(on_gpu),
        max_epochs=recipe.optimizer.epochs,
        gradient_clip_val=recipe.optimizer.clip_gradient,
        callbacks=[
            progress,
            ModelCheckpoint(
                dirpath=folder,
                filename='last',
                save_top_k=1,
                every_n_epochs=1,
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            ),
        ],
        plugins=[AtomicState()],
        logger=CSVLogger(str(folder), name='log'),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=50,
    )


def _precision(on_gpu: bool) -> Literal['32-true', 'bf16-mixed', '16-mixed']:
    if not on_gpu:
        return '32-true'
    # bfloat16 needs no loss scaling; GPUs before Ampere only emulate it.
    return 'bf16-mixed' if torch.cuda.get_device_capability()[0] >= 8 else '16-mixed'
