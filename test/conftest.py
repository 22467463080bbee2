"""What tests of several rooms need: a small camera and an untrained checkpoint for it."""

from pathlib import Path

import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, save_checkpoint
from implicit_loc.network import NetworkConfig, SceneNetwork


@pytest.fixture(scope='session')
def small_camera() -> Camera:
    """160 x 120 pixels, no distortion."""
    return Camera(160, 120, 131.0, 131.0, 79.5, 59.5)


@pytest.fixture(scope='session')
def untrained_network() -> SceneNetwork:
    """Always the same weights; its poses mean nothing, but they are poses."""
    torch.manual_seed(0)
    return SceneNetwork(
        NetworkConfig(decoder_channels=16, canonical_focal_length=131.0, scene_scale=2.0)
    ).eval()


@pytest.fixture(scope='session')
def description(untrained_network: SceneNetwork, small_camera: Camera) -> CheckpointDescription:
    """The header that belongs to the untrained network."""
    return CheckpointDescription(
        network=untrained_network.config,
        input_height=120,
        training_camera=small_camera,
        dataset='nowhere',
        dataset_fingerprint='0123456789abcdef',
        extent=((-1.0, -1.0, 0.5), (1.0, 1.0, 1.5)),
        keyframes=((0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),),
        validation={'median_translation_m': 0.1},
        software_version='0.1.0',
    )


@pytest.fixture(scope='session')
def checkpoint_path(
    tmp_path_factory: pytest.TempPathFactory,
    untrained_network: SceneNetwork,
    description: CheckpointDescription,
) -> Path:
    """A valid checkpoint file of an untrained network."""
    path = tmp_path_factory.mktemp('checkpoint') / 'untrained.safetensors'
    save_checkpoint(path, untrained_network, description)
    return path
