"""The header of the checkpoint to be, and the network that belongs to it."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

import implicit_loc
from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint
from implicit_loc.network import NetworkConfig, NetworkLayout, SceneNetwork
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.training.pretrained import load_backbone

# Taken over from a checkpoint that the training starts from, with the weights.
_RANGE = ('near', 'far')

# Enough poses to tell how far from the training data a camera is; about 30 kB.
_MOST_KEYFRAMES = 400


def describe(recipe: Recipe, samples: Sequence[Sample]) -> CheckpointDescription:
    """The checkpoint's header, as far as it is known before the training."""
    camera = samples[0].camera
    poses = np.stack([sample.world_from_camera for sample in samples])
    positions = poses[:, :3, 3]
    section = recipe.network
    resized = input_camera(camera, section.input_height)
    # A keyframe without its orientation would be taken for one that looks along the axes.
    oriented = poses[[sample.has_orientation for sample in samples]]
    kept = oriented[:: max(1, -(-len(oriented) // _MOST_KEYFRAMES))]
    quaternions = [Rotation.from_matrix(pose[:3, :3]).as_quat() for pose in kept]
    keyframes = [
        (*pose[:3, 3].round(5).tolist(), *quaternion.round(5).tolist())
        for pose, quaternion in zip(kept, quaternions, strict=True)
    ]
    return CheckpointDescription(
        network=NetworkConfig(
            **{item.name: getattr(section, item.name) for item in fields(NetworkLayout)},
            canonical_focal_length=resized.focal_length,
            scene_centre=_scene_centre(section.scene_centre, positions),
            # A head of unit variance then spans the part of the scene that is usually seen.
            scene_scale=0.2 * section.far,
        ),
        input_height=section.input_height,
        training_camera=camera,
        dataset=Path(recipe.data.path).name,
        dataset_fingerprint=fingerprint(samples),
        extent=(tuple(positions.min(axis=0).tolist()), tuple(positions.max(axis=0).tolist())),
        keyframes=tuple(keyframes),
        software_version=implicit_loc.__version__,
    )


def begin_network(
    recipe: Recipe, description: CheckpointDescription, resumes: bool = False
) -> tuple[SceneNetwork, CheckpointDescription]:
    """The network to train, fresh or from a checkpoint, and the header that belongs to it.

    Args:
        recipe: of the training.
        description: as far as recipe and recording tell it.
        resumes: whether an interrupted run's state brings all weights.

    Raises:
        ConfigError: the weights to start from are not there, or of another layout.
        CheckpointError: the checkpoint to start from cannot be used.
    """
    if not recipe.run.start_from:
        network = SceneNetwork(description.network)
        if recipe.network.backbone_weights and not resumes:
            load_backbone(network, recipe.network.backbone_weights)
        return network.to(memory_format=torch.channels_last), description
    network, earlier = load_checkpoint(recipe.run.start_from)
    for name in (item.name for item in fields(NetworkLayout) if item.name not in _RANGE):
        found, wanted = getattr(earlier.network, name), getattr(description.network, name)
        if found != wanted:
            raise ConfigError(
                f'{recipe.run.start_from} has network.{name} {found!r}, the recipe {wanted!r}: '
                'they must agree to start from it'
            )
    # Depth range, scene centre and focal length give the loaded weights their meaning.
    description = replace(description, network=earlier.network, calibration=earlier.calibration)
    if recipe.data.positions_only:
        description = _with_earlier_frames(description, earlier)
    return network.train().to(memory_format=torch.channels_last), description


def without_landmarks(
    network: SceneNetwork, description: CheckpointDescription
) -> tuple[SceneNetwork, CheckpointDescription]:
    """A network and its description without the landmarks that they may have.

    A calibration goes with them: it was of the poses that they gave.
    """
    if network.landmarks is None:
        return network, description
    config = replace(description.network, landmarks=0)
    network.landmarks, network.config = None, config
    return network, replace(description, network=config, calibration=Calibration())


def validation_figures(found: ErrorSummary | None) -> dict[str, float]:
    """The errors on held-out frames as the header has them: those that are finite."""
    figures = found.as_json() if found is not None else {}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _scene_centre(choice: str, positions: NDArray[np.floating[Any]]) -> tuple[float, float, float]:
    if choice == 'origin':
        return 0.0, 0.0, 0.0
    x, y, z = positions.mean(axis=0).round(4).tolist()
    return x, y, z


def _with_earlier_frames(
    description: CheckpointDescription, earlier: CheckpointDescription
) -> CheckpointDescription:
    """The header of a fine-tuned checkpoint, which still knows what it was trained on first."""
    corners = np.array([*description.extent, *earlier.extent])
    keyframes = (*earlier.keyframes, *description.keyframes)
    return replace(
        description,
        dataset=earlier.dataset,
        extent=(tuple(corners.min(axis=0).tolist()), tuple(corners.max(axis=0).tolist())),
        keyframes=keyframes[:: max(1, -(-len(keyframes) // _MOST_KEYFRAMES))],
    )


def fingerprint(samples: Sequence[Sample]) -> str:
    """What tells these frames, by names and poses, from others."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.name.encode())
        digest.update(sample.world_from_camera.round(6).tobytes())
    return digest.hexdigest()[:16]
