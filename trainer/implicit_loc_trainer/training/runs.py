"""One run of a training: its folder, its state for resuming, its checkpoint."""

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from rich.console import Console
from rich.progress import track
from scipy.spatial.transform import Rotation

import implicit_loc
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint, save_checkpoint
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.loading import TrainingSet
from implicit_loc_trainer.training.progress import TrainingProgress
from implicit_loc_trainer.training.scene_training import SceneTraining
from implicit_loc_trainer.training.state_files import AtomicState

_STATE = 'last.ckpt'
_RECIPE = 'recipe.yaml'
_CHECKPOINT = 'checkpoint.safetensors'

# Enough poses to tell how far from the training data a camera is; about 30 kB.
_MOST_KEYFRAMES = 400


def train(recipe: Recipe) -> Path:
    """Train, or go on where an interrupted run of the same recipe stopped.

    Returns:
        The checkpoint for the robot.

    Raises:
        ConfigError: the recipe is not usable, or its folder holds a run of another recipe.
        DataError: the recording is not usable.
    """
    console = Console()
    folder = Path(recipe.run.output)
    state = _prepare_folder(folder, recipe)
    samples = open_dataset(recipe.data.path, _split(recipe.data.train_split))
    if len(samples) < recipe.optimizer.batch_size:
        raise ConfigError(
            f'the recording has {len(samples)} frames, a batch takes '
            f'{recipe.optimizer.batch_size}: lower optimizer.batch_size'
        )
    lightning.seed_everything(recipe.run.seed, verbose=False)
    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    network, description = _begin(recipe, describe(recipe, samples))
    training_set = TrainingSet(
        track(samples, 'reading frames', console=console, transient=True),
        recipe.network.input_height,
        recipe.network.stride,
        recipe.augmentation,
        recipe.run.seed,
    )
    progress = TrainingProgress(recipe.optimizer.batch_size)
    module = SceneTraining(
        recipe, network, description, training_set, _validation_frames(recipe), progress.report
    )
    trainer = _lightning_trainer(recipe, folder, progress)
    if state is not None:
        console.print(f'going on from {state}')
    _fit(trainer, module, state)
    validation = module.last_validation.as_json() if module.last_validation else {}
    figures = {name: float(value) for name, value in validation.items() if value is not None}
    path = folder / _CHECKPOINT
    save_checkpoint(path, module.network, replace(description, validation=figures))
    return path


def _fit(trainer: lightning.Trainer, module: SceneTraining, state: Path | None) -> None:
    try:
        trainer.fit(module, ckpt_path=state, weights_only=True)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into a silent exit.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise


def describe(recipe: Recipe, samples: Sequence[Sample]) -> CheckpointDescription:
    """The checkpoint's header, as far as it is known before the training."""
    camera = samples[0].camera
    poses = np.stack([sample.world_from_camera for sample in samples])
    positions = poses[:, :3, 3]
    section = recipe.network
    resized = input_camera(camera, section.input_height)
    kept = poses[:: -(-len(poses) // _MOST_KEYFRAMES)]
    quaternions = Rotation.from_matrix(kept[:, :3, :3]).as_quat()
    keyframes = np.concatenate([kept[:, :3, 3], quaternions], axis=1).round(5)
    return CheckpointDescription(
        network=NetworkConfig(
            backbone=section.backbone,
            stride=section.stride,
            decoder_channels=section.decoder_channels,
            near=section.near,
            far=section.far,
            canonical_focal_length=resized.focal_length,
            scene_centre=tuple(positions.mean(axis=0).round(4).tolist()),
            # A head of unit variance then spans the part of the scene that is usually seen.
            scene_scale=0.2 * section.far,
        ),
        input_height=section.input_height,
        training_camera=camera,
        dataset=Path(recipe.data.path).name,
        dataset_fingerprint=_fingerprint(samples),
        extent=(tuple(positions.min(axis=0).tolist()), tuple(positions.max(axis=0).tolist())),
        keyframes=tuple(map(tuple, keyframes.tolist())),
        software_version=implicit_loc.__version__,
    )


def _begin(
    recipe: Recipe, description: CheckpointDescription
) -> tuple[SceneNetwork, CheckpointDescription]:
    """The network to train, fresh or from a checkpoint, and the header that belongs to it."""
    if not recipe.run.start_from:
        network = SceneNetwork(description.network)
        return network.to(memory_format=torch.channels_last), description
    network, earlier = load_checkpoint(recipe.run.start_from)
    layout = ('backbone', 'stride', 'decoder_channels')
    for name in layout:
        found, wanted = getattr(earlier.network, name), getattr(description.network, name)
        if found != wanted:
            raise ConfigError(
                f'{recipe.run.start_from} has network.{name} {found!r}, the recipe {wanted!r}: '
                'they must agree to start from it'
            )
    # Depth range, scene centre and focal length give the loaded weights their meaning.
    description = replace(description, network=earlier.network)
    return network.train().to(memory_format=torch.channels_last), description


def _lightning_trainer(
    recipe: Recipe, folder: Path, progress: TrainingProgress
) -> lightning.Trainer:
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


def _prepare_folder(folder: Path, recipe: Recipe) -> Path | None:
    """Create the run's folder; returns the state to resume from, if it has one."""
    text = yaml.safe_dump(asdict(recipe), sort_keys=False)
    folder.mkdir(parents=True, exist_ok=True)
    recorded, state = folder / _RECIPE, folder / _STATE
    # Compared as recipes: an entry that is new in this version has its default in an older run.
    if state.is_file() and recorded.is_file() and load_recipe(recorded) != recipe:
        raise ConfigError(
            f'{folder} holds a run of another recipe ({recorded}): '
            'choose another --run.output, or delete the folder'
        )
    with replacing(recorded) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return state if state.is_file() else None


def _validation_frames(recipe: Recipe) -> list[Sample]:
    most = recipe.data.validation_frames
    if most == 0:
        return []
    samples = open_dataset(recipe.data.path, _split(recipe.data.validation_split))
    return samples[:: -(-len(samples) // most)]


def _split(name: str) -> str | Path:
    return name if name in ('train', 'test') else Path(name)


def _fingerprint(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.name.encode())
        digest.update(sample.world_from_camera.round(6).tobytes())
    return digest.hexdigest()[:16]
