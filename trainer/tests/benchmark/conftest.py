"""What tests of the benchmark share: a network with landmarks that it has not learned."""

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, save_checkpoint
from implicit_loc.landmark_map import LandmarkMap
from implicit_loc.network import NetworkConfig, SceneNetwork

CAMERA = Camera(320, 240, 260.0, 260.0, 159.5, 119.5)
POSE = (0.5, -0.2, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope='module')
def place():
    """An untrained network with landmarks before its keyframe, and its description."""
    torch.manual_seed(0)
    config = NetworkConfig(decoder_channels=16, landmarks=300)
    network = SceneNetwork(config).eval()
    _fill(network.landmarks)
    description = CheckpointDescription(
        network=config,
        input_height=240,
        training_camera=CAMERA,
        dataset='nowhere',
        dataset_fingerprint='',
        extent=((0.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
        keyframes=(POSE,),
    )
    return network, description


def _fill(landmarks: LandmarkMap) -> None:
    random = np.random.default_rng(0)
    pixels = random.uniform((10, 10), (310, 230), (300, 2))
    seen = CAMERA.unproject(pixels) * random.uniform(1.5, 3.0, (300, 1))
    landmarks.positions.copy_(torch.from_numpy(seen + POSE[:3]))
    distances = np.linalg.norm(seen, axis=1)
    landmarks.distances.copy_(torch.from_numpy(distances))
    landmarks.directions.copy_(torch.from_numpy(-seen / distances[:, None]))
    descriptors = random.normal(size=landmarks.descriptors.shape)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    landmarks.descriptors.copy_(torch.from_numpy(descriptors))


@pytest.fixture(scope='module')
def checkpoint(place, tmp_path_factory):
    """The same as a file."""
    path = tmp_path_factory.mktemp('map') / 'map.safetensors'
    save_checkpoint(path, *place)
    return path
