"""The public face: `Localizer.load(path).localize(image, camera) -> PoseEstimate`."""

import math
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc import preprocessing, uncertainty
from implicit_loc.alignment import align_one
from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint
from implicit_loc.errors import CameraError, ImplicitLocError
from implicit_loc.network import SceneGeometry, SceneNetwork
from implicit_loc.uncertainty import ResidualStatistics

FloatArray = NDArray[np.float64]

# A wider or narrower image than in training shows the network cells that it never saw.
_ASPECT_TOLERANCE = 0.1


@dataclass(frozen=True)
class PoseEstimate:
    """Where the camera was, and how sure that is.

    Attributes:
        world_from_camera: (4, 4), metres, optical frame.
        covariance: (6, 6) of the camera's pose: x y z, then rotation about the fixed axes
            X Y Z of the world frame; m2 and rad2.
        confidence: in [0, 1].
        residuals: agreement of the predicted clouds under the pose.
        geometry: the prediction: world points (h, w, 3), depth (h, w), weights (h, w).
        camera: intrinsics of the network's input, to which the cells belong.
        timings: seconds of 'preprocessing', 'network', 'alignment' and 'total'.
    """

    world_from_camera: FloatArray
    covariance: FloatArray
    confidence: float
    residuals: ResidualStatistics
    geometry: SceneGeometry[NDArray[np.float32]]
    camera: Camera
    timings: dict[str, float]


class Localizer:
    """A network trained for one place, and the way from its prediction to a pose.

    Not thread-safe: one thread owns it.

    Args:
        network: in evaluation mode.
        description: of the checkpoint that it came from.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda' or 'cuda:N'.

    Raises:
        ImplicitLocError: the device does not exist.
    """

    def __init__(
        self, network: SceneNetwork, description: CheckpointDescription, device: str = 'auto'
    ) -> None:
        self.description = description
        self.device = _select_device(device)
        self._autocast = self.device.type == 'cuda'
        self._network = network.eval().to(self.device).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, path: str | Path, device: str = 'auto') -> 'Localizer':
        """Read a checkpoint.

        Raises:
            CheckpointError: the file is missing, damaged, foreign or of another version.
            ImplicitLocError: the device does not exist.
        """
        return cls(*load_checkpoint(path), device=device)

    def warm_up(self, camera: Camera | None = None) -> float:
        """Run on a grey image, so that the first real one is as fast as any.

        Args:
            camera: whose images will come; None for the training camera.

        Returns:
            Seconds that a warmed image takes.
        """
        camera = camera or self.description.training_camera
        grey = np.full((camera.height, camera.width, 3), 128, np.uint8)
        for _ in range(3):
            start = time.perf_counter()
            self.predict(grey, camera)
        return time.perf_counter() - start

    def localize(self, image: NDArray[np.uint8], camera: Camera) -> PoseEstimate:
        """Find the pose of one image.

        Args:
            image: RGB, (H, W, 3) uint8, as the camera makes it, distortion included.
            camera: its intrinsics at this size.

        Raises:
            ImageError: the image is no uint8 RGB image of the camera's size.
            CameraError: the aspect ratio is far from the training camera's.
            AlignmentError: the prediction does not determine a pose.
        """
        start = time.perf_counter()
        geometry, resized_camera, timings = self._predict_timed(image, camera)
        before_alignment = time.perf_counter()
        rays, visible = _rays(resized_camera, self.description.network.stride)
        weights = np.where(visible, geometry.weights.ravel(), 0.0).astype(np.float64)
        precise = geometry.map(lambda array: array.astype(np.float64))
        world_points = precise.world_points.reshape(-1, 3)
        with np.errstate(invalid='ignore'):  # an infinite depth is refused just below
            camera_points = precise.camera_points(rays.reshape(precise.world_points.shape))
        camera_points = camera_points.reshape(-1, 3)
        pose = align_one(world_points, camera_points, weights)
        residuals = uncertainty.residual_statistics(
            pose, world_points, camera_points, rays, weights, resized_camera.focal_length
        )
        covariance = uncertainty.pose_covariance(
            pose, camera_points, weights, residuals.alignment_rms_m
        )
        end = time.perf_counter()
        timings |= {'alignment': end - before_alignment, 'total': end - start}
        return PoseEstimate(
            world_from_camera=pose,
            covariance=covariance,
            confidence=uncertainty.confidence(residuals, covariance),
            residuals=residuals,
            geometry=geometry,
            camera=resized_camera,
            timings=timings,
        )

    def predict(
        self, image: NDArray[np.uint8], camera: Camera
    ) -> SceneGeometry[NDArray[np.float32]]:
        """The network's geometry alone, without a pose; arguments and errors as `localize`."""
        return self._predict_timed(image, camera)[0]

    def _predict_timed(
        self, image: NDArray[np.uint8], camera: Camera
    ) -> tuple[SceneGeometry[NDArray[np.float32]], Camera, dict[str, float]]:
        start = time.perf_counter()
        preprocessing.check_image(image, camera)
        self._check_aspect(camera)
        resized_camera = preprocessing.input_camera(camera, self.description.input_height)
        resized = preprocessing.resize(image, resized_camera.width, resized_camera.height)
        prepared = time.perf_counter()
        with torch.inference_mode(), torch.autocast('cuda', enabled=self._autocast):
            images = preprocessing.to_tensor(resized)[None].to(self.device)
            focal_length = torch.tensor([resized_camera.focal_length], device=self.device)
            predicted = self._network(preprocessing.normalise(images), focal_length)
            # One download, which also waits for the device: the timing is honest.
            parts = [
                predicted.world_points,
                predicted.depth[..., None],
                predicted.weights[..., None],
            ]
            if predicted.own_camera_points is not None:
                parts.append(predicted.own_camera_points)
            arrays = torch.cat(parts, dim=-1)[0].float().cpu().numpy()
        finished = time.perf_counter()
        own = arrays[..., 5:] if predicted.own_camera_points is not None else None
        geometry = SceneGeometry(arrays[..., :3], arrays[..., 3], arrays[..., 4], own)
        timings = {'preprocessing': prepared - start, 'network': finished - prepared}
        return geometry, resized_camera, timings

    def _check_aspect(self, camera: Camera) -> None:
        trained = self.description.training_camera
        if abs(math.log(camera.aspect_ratio / trained.aspect_ratio)) > _ASPECT_TOLERANCE:
            raise CameraError(
                f'the camera has {camera.width}x{camera.height} pixels, the network was trained '
                f'for {trained.width}x{trained.height}: crop the image to that aspect ratio'
            )


@lru_cache(maxsize=16)
def _rays(camera: Camera, stride: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Rays (N, 3) of all cells, and which of them the camera's model covers."""
    rays = camera.rays(stride).reshape(-1, 3).astype(np.float64)
    visible = np.asarray(np.isfinite(rays).all(axis=-1))
    rays[~visible] = (0.0, 0.0, 1.0)
    return rays, visible


def _select_device(name: str) -> torch.device:
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ImplicitLocError(
            f'the device {name!r} is not known: use auto, cpu, cuda or cuda:N'
        ) from error
    if device.type not in ('cpu', 'cuda'):
        raise ImplicitLocError(f'the device {name!r} is not supported: use auto, cpu or cuda')
    if device.type == 'cuda':
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ImplicitLocError(
                f'the device {name} was asked for, but PyTorch sees {count} CUDA devices: '
                'use auto or cpu, or install the NVIDIA driver'
            )
    return device
