"""What several tests share: a localizer whose errors are known, and its recording."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.confidence import Evidence
from implicit_loc.errors import AlignmentError, CameraError
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.network import NetworkConfig, SceneGeometry
from implicit_loc.runtimes import RuntimeStatus
from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.report import writing

CAMERA = Camera(96, 64, 80.0, 80.0, 47.5, 31.5)
STRIDE = 8


def pose(index):
    """world_from_camera on a way around the room."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', (-90, 0, 12 * index), degrees=True).as_matrix()
    angle = 0.2 * index
    matrix[:3, 3] = (2 * math.cos(angle), math.sin(angle), 1.2)
    return matrix


def samples(count):
    """Grey images that say which one they are."""
    return [
        Sample(f'{index:06d}', CAMERA, pose(index), index / 10.0, lambda index=index: _grey(index))
        for index in range(count)
    ]


def _grey(index):
    return np.full((CAMERA.height, CAMERA.width, 3), index, np.uint8)


class KnownLocalizer:
    """Errors in metres along x, None = lost; repeated for further frames.

    Its world points are exact: PnP makes no error, whatever the localizer's own is.
    """

    def __init__(self, errors_m, dataset='room', device='cpu', solver='robust', confidence=0.5):
        self.errors_m = errors_m
        self.confidence = confidence
        self.device = torch.device(device)
        self.solver = solver
        self.runtime = RuntimeStatus('known geometry')
        self.masks = []
        self.executed = None
        self.warmed = []
        self.description = CheckpointDescription(
            network=NetworkConfig(stride=STRIDE),
            input_height=CAMERA.height,
            training_camera=CAMERA,
            dataset=dataset,
            dataset_fingerprint='0123456789abcdef',
            extent=((-2.0, -1.0, 1.2), (2.0, 1.0, 1.2)),
        )

    def load(self, path, device='auto', solver='landmarks', runtime='auto', threads=None):
        """Stands in for `Localizer.load`; keeps how the network is to be executed."""
        self.executed = runtime, threads
        return self

    def warm_up(self, camera):
        """Keeps the camera; of some aspects there are no images."""
        self.warmed.append(camera)
        if camera.aspect_ratio > 2:
            raise CameraError('the camera has another aspect ratio')

    def localize(self, image, camera, mask=None):
        """The true pose, moved by the known error."""
        self.masks.append(mask)
        return self.solve(self.predict(image, camera), camera, mask)

    def predict(self, image, camera):
        """The true geometry."""
        index = int(image[0, 0, 0])
        true = pose(index)
        rays = camera.rays(STRIDE)
        depth = np.random.default_rng(index).uniform(1, 3, rays.shape[:2]).astype(np.float32)
        points = (depth[..., None] * rays) @ true[:3, :3].T + true[:3, 3]
        geometry = SceneGeometry(points.astype(np.float32), depth, depth / 3)
        self._predicted = geometry, index
        return geometry

    def solve(self, geometry, camera, mask=None, solver=None):
        """The true pose, moved by the known error of the localizer, or not at all by PnP."""
        predicted, index = self._predicted
        assert geometry is predicted
        error_m = self.errors_m[index % len(self.errors_m)]
        if error_m is None:
            raise AlignmentError('all weights are zero')
        estimated = pose(index)
        estimated[0, 3] += 0.0 if solver == 'pnp_ransac' else error_m
        return PoseEstimate(
            world_from_camera=estimated,
            first_pose=estimated,
            used_consensus=False,
            covariance=np.eye(6),
            confidence=self.confidence,
            evidence=Evidence(*[0.0] * len(dataclasses.fields(Evidence))),
            residuals=ResidualStatistics(96, 0.75, 0.04, 0.03, 1.5),
            geometry=geometry,
            camera=camera,
            timings={
                'preprocessing': 0.001,
                'network': 0.02,
                'alignment': 0.002,
                'refinement': 0.001,
                'total': 0.024,
            },
        )


def write(patch, path, errors_m, held_out=None, run=Path('/nowhere'), **localizer):
    """Writes a report of a known localizer; returns the page."""
    known = KnownLocalizer(errors_m, **localizer)
    patch.setattr(Localizer, 'load', known.load)
    frames = samples(len(errors_m)) if held_out is None else held_out
    training = samples(12)
    writing.write_report(
        path, Path('map.safetensors'), 'recordings/room', training, frames, 1000, run
    )
    return path.read_text(encoding='utf-8')
