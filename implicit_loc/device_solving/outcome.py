"""What comes down from the device about a pose: one row of numbers."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import Array
from implicit_loc.cells import fixes_rotation
from implicit_loc.covariance import RegionalEquations
from implicit_loc.landmark_alignment import CLEAR_SHARE, FEWEST_LOOKED_FOR
from implicit_loc.solvers import LEAST_INLIER_RATIO, is_pose
from implicit_loc.uncertainty import Agreement, PoseFacts

FloatArray = NDArray[np.float64]

Shapes = tuple[tuple[int, ...], ...]


class Parts(NamedTuple):
    """What a solver on a device knows of a pose, in float64; of one image, without a batch.

    Attributes:
        world_from_camera: (4, 4).
        first_pose: (4, 4), as in PoseEstimate.
        covariance_of_clouds: of the cells, (3, 3), m2.
        agreement: of the cells with the pose, in the order of Agreement, (8,).
        gradients: of RegionalEquations, (K, 6).
        information: of RegionalEquations, (6, 6).
        is_usual: 1 where nothing needed a decision, else 0, ().
        inlier_ratio: of the pose among the cells, of maps without landmarks, ().
        agreeing: landmarks where the pose sees them, ().
        looked_for: of how many, (); 0 of maps without landmarks.
        found: of each landmark that was looked for: column and row of the pixel of the network's
            input where it was found, and whether the pose sees it there, (M, 3); NaN of places
            without one.
    """

    world_from_camera: Array
    first_pose: Array
    covariance_of_clouds: Array
    agreement: Array
    gradients: Array
    information: Array
    is_usual: Array
    inlier_ratio: Array
    agreeing: Array
    looked_for: Array
    found: Array


def pack(parts: Parts) -> tuple[Tensor, Shapes]:
    """The parts as (N,) float64, and their shapes."""
    packed = torch.cat([part.double().flatten() for part in parts])
    return packed, tuple(tuple(part.shape) for part in parts)


def unpack(packed: FloatArray, shapes: Shapes) -> Parts:
    """The parts, as views of what `pack` gave."""
    parts, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        parts.append(packed[start:end].reshape(shape))
        start = end
    return Parts(*parts)


@dataclass(frozen=True)
class Outcome:
    """What a device found out about the pose of one image.

    Attributes:
        parts: as NumPy's arrays.
        focal_length: of the network's input, pixels.
    """

    parts: Parts
    focal_length: float

    @property
    def is_decided(self) -> bool:
        """Whether the host would have come to the same pose, with no more than this."""
        parts = self.parts
        computed = (parts.covariance_of_clouds, parts.gradients, parts.information)
        if not (parts.is_usual and all(np.isfinite(part).all() for part in computed)):
            return False
        if not is_pose(torch.from_numpy(parts.world_from_camera[None])):
            return False
        if not bool(fixes_rotation(torch.from_numpy(parts.covariance_of_clouds[None]))):
            return False
        if parts.looked_for:
            return self._share >= CLEAR_SHARE
        return bool(parts.inlier_ratio >= LEAST_INLIER_RATIO)

    @property
    def landmarks_found(self) -> FloatArray | None:
        """As of PoseEstimate."""
        found = self.parts.found
        return found[np.isfinite(found[:, 0])] if self.parts.looked_for else None

    def facts(self) -> PoseFacts:
        """What an assessment needs to know."""
        parts = self.parts
        return PoseFacts(
            world_from_camera=parts.world_from_camera,
            first_pose=parts.first_pose,
            agreement=Agreement(*parts.agreement),
            equations=RegionalEquations(parts.gradients, parts.information),
            focal_length=self.focal_length,
            landmark_share=self._share,
            on_landmarks=bool(parts.looked_for),
        )

    @property
    def _share(self) -> float:
        """As of LandmarkPose."""
        return float(self.parts.agreeing) / max(float(self.parts.looked_for), FEWEST_LOOKED_FOR)
