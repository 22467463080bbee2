"""The header of the checkpoint to be, and the network that belongs to it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

import implicit_loc
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError

# Enough poses to tell how far from the training data a camera is; about 30 kB.
_MOST_KEYFRAMES = 400


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


def begin_network(
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


def _fingerprint(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.name.encode())
        digest.update(sample.world_from_camera.round(6).tobytes())
    return digest.hexdigest()[:16]
