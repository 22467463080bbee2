"""What a trained network's features look like at a recording's landmarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from implicit_loc import preprocessing
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.errors import ImplicitLocError
from implicit_loc.landmark_map import DESCRIPTOR_STRIDES, LandmarkMap, joined_features
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.landmarks.choosing import ChosenLandmarks
from implicit_loc_trainer.tracking import tracked
from implicit_loc_trainer.training.augmentation import inside_image

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]


def describe_landmarks(
    network: SceneNetwork,
    description: CheckpointDescription,
    frames: Sequence[Sample],
    chosen: ChosenLandmarks,
    report: Callable[[str], None],
) -> LandmarkMap | None:
    """The landmarks of a recording as a network sees them; the most seen ones come first.

    Args:
        network: trained, in evaluation mode; used on the device on which it is.
        description: of its checkpoint.
        frames: that it learned from; one that cannot be read is named and left out.
        chosen: landmarks of these frames.
        report: takes a line about every frame that cannot be read.

    Returns:
        The landmarks, on the host, or None where the frames show none.
    """
    sums = _Sums(len(chosen.points))
    for frame, own in zip(tracked(frames, 'describing landmarks'), chosen.in_frame, strict=True):
        if not len(own):
            continue
        try:
            look = _look(network, description, frame, chosen.points[own])
        except (ImplicitLocError, OSError) as error:
            report(f'left out of the landmarks: frame {frame.name}: {error}')
            continue
        seen = own[look.seen]
        sums.add(seen, look.found, frame.world_from_camera[:3, 3] - chosen.points[seen])
        sums.add_everywhere(look.features)
    return sums.landmarks(network, chosen.points, np.array(description.network.scene_centre))


@dataclass(frozen=True)
class _Look:
    """What a network sees in a frame.

    Attributes:
        features: of the whole frame, (h, w, C).
        found: those at the landmarks in it, (M, C).
        seen: which of the landmarks that were asked for these are, (N,).
    """

    features: Tensor
    found: Tensor
    seen: NDArray[np.bool_]


@torch.no_grad()
def _look(
    network: SceneNetwork, description: CheckpointDescription, frame: Sample, points: FloatArray
) -> _Look:
    device = next(network.parameters()).device
    camera = preprocessing.input_camera(frame.camera, description.input_height)
    image = preprocessing.resize(frame.load_image(), camera.width, camera.height)
    batch = preprocessing.normalise(preprocessing.to_tensor(image)[None].to(device))
    features = joined_features(network.descriptor_features(batch)).cpu()
    pose = frame.world_from_camera
    in_camera = (points - pose[:3, 3]) @ pose[:3, :3]
    in_front = in_camera[:, 2] > 0
    pixels = camera.project(np.where(in_front[:, None], in_camera, (0.0, 0.0, 1.0)))
    seen = in_front & inside_image(pixels, camera)
    size = torch.tensor(features.shape[2:0:-1], dtype=torch.float32)
    # A cell of stride s has its centre at pixel (s - 1) / 2; grid_sample counts from the border.
    places = (torch.from_numpy(pixels[seen]).float() + 0.5) / DESCRIPTOR_STRIDES[0]
    grid = (places / size * 2 - 1)[None, None]
    found = functional.grid_sample(
        features.permute(0, 3, 1, 2), grid, padding_mode='border', align_corners=False
    )
    return _Look(features[0], found[0, :, 0].T, np.asarray(seen))


class _Sums:
    """Of what was seen of each landmark."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._features: Tensor | None = None
        self._squares = torch.zeros(())
        self._everywhere = torch.zeros(())
        self._places = 0
        self._seen = np.zeros(count)
        self._directions = np.zeros((count, 3))
        self._distances = np.zeros(count)

    def add(self, landmarks: Indices, features: Tensor, to_camera: FloatArray) -> None:
        """What one frame shows of some landmarks: features (N, C), and the way to it (N, 3)."""
        if self._features is None:
            self._features = torch.zeros(self._count, features.shape[1], dtype=torch.float64)
        self._features[torch.from_numpy(landmarks)] += features.double()
        distances = np.linalg.norm(to_camera, axis=1)
        self._directions[landmarks] += to_camera / distances[:, None]
        self._distances[landmarks] += distances
        self._seen[landmarks] += 1

    def add_everywhere(self, features: Tensor) -> None:
        """The features of a whole frame, (h, w, C)."""
        flat = features.double().flatten(0, 1)
        self._everywhere = self._everywhere + flat.sum(dim=0)
        self._squares = self._squares + flat.square().sum(dim=0)
        self._places += len(flat)

    def landmarks(
        self, network: SceneNetwork, points: FloatArray, centre: FloatArray
    ) -> LandmarkMap | None:
        """The map of the landmarks that were seen; None without any."""
        seen = self._seen > 0
        if self._features is None or not seen.any():
            return None
        found = network.empty_landmarks(int(seen.sum()))
        counts = self._seen[seen]
        mean = self._everywhere / self._places
        deviation = (self._squares / self._places - mean.square()).clamp_min(0).sqrt()
        found.mean.copy_(mean)
        # A feature that never varies tells nothing.
        found.deviation.copy_(deviation.clamp_min(1e-3 * float(deviation.mean()) + 1e-12))
        own = self._features[torch.from_numpy(seen)] / torch.from_numpy(counts)[:, None]
        found.descriptors.copy_(found.normalised(own))
        directions = self._directions[seen]
        lengths = np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
        found.directions.copy_(torch.from_numpy(directions / lengths))
        found.distances.copy_(torch.from_numpy(self._distances[seen] / counts))
        found.positions.copy_(torch.from_numpy(points[seen] - centre))
        return found
