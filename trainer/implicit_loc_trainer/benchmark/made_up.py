"""Views without a recording: noise for the network, and a prediction that a pose follows from.

The landmarks are the checkpoint's own, seen from poses of its training: solvers do what they do on
images of the place. What a network predicts of noise would send them to their fallbacks.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera, cell_pixels, output_size
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.landmark_search import LEAST_DEPTH_M
from implicit_loc.landmark_search import STRIDE as DESCRIPTOR_STRIDE
from implicit_loc.network import SceneGeometry, SceneNetwork
from implicit_loc.poses import quaternion_to_matrix
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.benchmark.views import Geometry, View

FloatArray = NDArray[np.float64]

# Of predicted world points and depths, metres: what a network trained on one room comes to.
_NOISE_M = 0.03

# More in sight than any search looks for.
_MOST_LANDMARKS = 1000

# Length of descriptors where no landmark is; of a landmark 1 per stride.
_BACKGROUND = 0.3

# Squared distance in descriptor cells within which a place still looks like its landmark.
_FADING = 4.0


def made_up_views(
    network: SceneNetwork, description: CheckpointDescription, count: int
) -> Iterator[View]:
    """Views by the training's camera from its keyframes.

    Args:
        network: of the checkpoint, with its landmarks if it has any.
        description: of the checkpoint.
        count: how many.
    """
    camera = description.training_camera
    resized = input_camera(camera, description.input_height)
    random = np.random.default_rng(0)
    poses = _poses(description)
    for index in np.linspace(0, len(poses) - 1, count).round().astype(int):
        image = random.integers(0, 256, (camera.height, camera.width, 3), np.uint8)
        geometry = _geometry(network, poses[index], resized, random)
        yield View(image, camera, geometry)


def _poses(description: CheckpointDescription) -> list[FloatArray]:
    """world_from_camera (4, 4) of the keyframes; without any, the middle of the extent."""
    middle = tuple(np.mean(description.extent, axis=0))
    poses = []
    for keyframe in description.keyframes or ((*middle, 0.0, 0.0, 0.0, 1.0),):
        pose = np.eye(4)
        rotation = quaternion_to_matrix(torch.tensor(keyframe[3:], dtype=torch.float64))
        pose[:3, :3], pose[:3, 3] = rotation.numpy(), keyframe[:3]
        poses.append(pose)
    return poses


def _geometry(
    network: SceneNetwork, pose: FloatArray, camera: Camera, random: np.random.Generator
) -> Geometry:
    rays = np.nan_to_num(camera.rays(network.config.stride).astype(np.float64))
    depth = 2.0 + np.sin(4.0 * rays[..., 0] + 3.0 * rays[..., 1])
    world = depth[..., None] * rays @ pose[:3, :3].T + pose[:3, 3]
    world += random.normal(scale=_NOISE_M, size=world.shape)
    depth += random.normal(scale=_NOISE_M, size=depth.shape)
    own = depth[..., None] * rays if network.config.camera_output == 'points' else None
    return SceneGeometry(
        world.astype(np.float32),
        depth.astype(np.float32),
        random.uniform(0.2, 1.0, depth.shape).astype(np.float32),
        None if own is None else own.astype(np.float32),
        _descriptors(network, pose, camera, random),
    )


def _descriptors(
    network: SceneNetwork, pose: FloatArray, camera: Camera, random: np.random.Generator
) -> NDArray[np.float32] | None:
    """Descriptors of an image (h, w, C): of the landmarks before the camera, and noise."""
    if network.landmarks is None:
        return None
    centre = np.array(network.config.scene_centre)
    positions = network.landmarks.positions.double().numpy() + centre
    seen = (positions - pose[:3, 3]) @ pose[:3, :3]
    own = network.landmarks.descriptors.float().numpy()
    rows, columns = output_size(camera.width, camera.height, DESCRIPTOR_STRIDE)
    noise = random.normal(size=(rows, columns, own.shape[1]))
    image = _BACKGROUND * noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    places = cell_pixels(range(rows), range(columns), DESCRIPTOR_STRIDE)
    in_front = np.flatnonzero(seen[:, 2] > LEAST_DEPTH_M)
    pixels = camera.project(seen[in_front])
    inside = ((pixels > 0) & (pixels < (camera.width - 1, camera.height - 1))).all(axis=1)
    in_sight = list(zip(pixels[inside], own[in_front[inside]], strict=True))
    # Searches prefer the first ones: where two meet, the first one is to be seen.
    for pixel, descriptor in reversed(in_sight[:_MOST_LANDMARKS]):
        squared = np.square((places - pixel) / DESCRIPTOR_STRIDE).sum(axis=-1)
        near = squared < _FADING
        image[near] = (1.0 - squared[near, None] / (_FADING + 1.0)) * descriptor
    return image.astype(np.float32)
