"""Covariance of a pose: how far the cells' own disagreement lets it be wrong.

At the optimum of a robust cost, the pose's error is H^-1 times the sum of the cells' gradients,
with H the information (Huber 1981). Cells' errors are not independent: those of neighbours are
nearly the same, as they see the same surface through the same filters. What the gradients sum up
to is therefore estimated from image regions instead of cells (a cluster-robust "sandwich"
covariance, Liang and Zeger 1986): a bias that part of the image shares counts in full.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import Array, may_leave_torch, to_numpy, to_torch
from implicit_loc.cells import Cells
from implicit_loc.regions import regional_sums
from implicit_loc.robust_cost import DEFAULT_COST, CostOptions, cell_equations

FloatArray = NDArray[np.float64]

# Nobody's labels are better than this: 5 mm and 0.1 degrees.
FLOOR_TRANSLATION_M = 0.005
FLOOR_ROTATION_RAD = 0.0017

# Standard deviations of a pose of which nothing is known: finite, so that a filter can add it.
LARGEST_TRANSLATION_M = 1000.0
LARGEST_ROTATION_RAD = math.pi

# Few regions tell the whole 6x6 shape only roughly: so much of it is that of independent cells.
_MODEL_SHARE = 0.3

# Seen through a few regions, position and rotation seem coupled more tightly than they are.
_DECOUPLED = 0.2

# Information in one direction, relative to the largest, below which there is none.
_NO_INFORMATION = 1e-10

_FLOOR = np.repeat([FLOOR_TRANSLATION_M, FLOOR_ROTATION_RAD], 3)
_LARGEST = np.repeat([LARGEST_TRANSLATION_M, LARGEST_ROTATION_RAD], 3)


class RegionalEquations(NamedTuple):
    """What a covariance follows from.

    Attributes:
        gradients: of the regions' shares of the cost, (K, 6).
        information: of all cells, (6, 6).
    """

    gradients: Array
    information: Array


def pose_covariance(
    cells: Cells,
    world_from_camera: Tensor,
    factors: tuple[float, float],
    options: CostOptions = DEFAULT_COST,
    doubt: float = 1.0,
) -> FloatArray:
    """Covariance of the camera's pose, whichever solver found it.

    Args:
        cells: of one image, B = 1, in float64 on the CPU; where not finite, without weight.
        world_from_camera: (1, 4, 4), float64.
        factors: on the standard deviations of position and rotation, of Calibration.
        options: of the cost whose curvature counts.
        doubt: a factor on the standard deviations, for what the cells cannot tell.

    Returns:
        (6, 6): x y z, then rotation about the fixed axes X Y Z of the world; m2 and rad2.
        Symmetric and positive definite, whatever the cells hold.
    """
    equations = regional_equations(with_weight(cells), world_from_camera, options)
    found = RegionalEquations(*(part.numpy() for part in equations))
    return covariance_of(found, world_from_camera[0].double().numpy(), factors, doubt)


def covariance_of(
    equations: RegionalEquations,
    world_from_camera: FloatArray,
    factors: tuple[float, float],
    doubt: float = 1.0,
) -> FloatArray:
    """As `pose_covariance`, of equations on the host and a pose (4, 4)."""
    seen = _camera_covariance(*equations)
    # A step (rho, phi) in the camera frame moves the pose by -R rho and turns it by -R phi.
    turn = np.zeros((6, 6))
    turn[:3, :3] = turn[3:, 3:] = doubt * world_from_camera[:3, :3]
    return calibrated(turn @ seen @ turn.T, factors)


def regional_equations(
    cells: Cells, world_from_camera: Tensor, options: CostOptions = DEFAULT_COST
) -> RegionalEquations:
    """The regions' gradients and the information of one image's cells; nothing waits for the host.

    Args:
        cells: B = 1, on any device; where not finite, without weight.
        world_from_camera: (1, 4, 4).
        options: of the cost whose curvature counts.

    Returns:
        Tensors in float64.
    """
    gradients, information = cell_equations(world_from_camera, cells, options)
    parts = gradients[0].double().mT, cells.rays[0, :, :2], cells.weights[0] > 0
    if may_leave_torch(*parts):
        summed = to_torch(regional_sums(*(to_numpy(part) for part in parts)))
    else:
        summed = regional_sums(*parts)
    return RegionalEquations(summed, information[0].double())


def calibrated(covariance: FloatArray, factors: tuple[float, float]) -> FloatArray:
    """A covariance that the cells tell, scaled by what held-out frames taught; with the floor."""
    scale = np.repeat(factors, 3)
    scaled = _bounded(covariance * np.outer(scale, scale)) + np.diag(np.square(_FLOOR))
    symmetric: FloatArray = (scaled + scaled.T) / 2
    return symmetric


def uncalibrated(covariance: FloatArray, factors: tuple[float, float]) -> FloatArray:
    """What `calibrated` was given, as long as that was not beyond the largest covariance."""
    scale = np.repeat(factors, 3)
    raw: FloatArray = (covariance - np.diag(np.square(_FLOOR))) / np.outer(scale, scale)
    return raw


def with_weight(cells: Cells) -> Cells:
    """Those of one image that count: the others cost time, and are nowhere in it."""
    used = cells.weights[0] > 0
    if used.all() or not used.any():
        return cells
    return Cells(
        cells.world_points[:, used],
        cells.camera_points[:, used],
        cells.rays[:, used],
        cells.weights[:, used],
        cells.focal_length,
    )


def _camera_covariance(gradients: FloatArray, information: FloatArray) -> FloatArray:
    """Covariance of (rho, phi); very large where the cells do not determine the pose."""
    moved, turned = np.trace(information[:3, :3]), np.trace(information[3:, 3:])
    if not (moved > 0 and turned > 0):
        return np.diag(np.square(_LARGEST))
    # Metres and radians differ: with units in which both have one information, zero is zero.
    units = np.sqrt(1 / np.repeat([moved, turned], 3))
    values, vectors = np.linalg.eigh(information * np.outer(units, units))
    known = values > _NO_INFORMATION * values[-1]
    root = vectors * np.where(known, 1 / np.sqrt(np.where(known, values, 1)), 0)
    whitened = (gradients * units) @ root
    spread = whitened.T @ whitened
    # Were the cells independent, it would be a multiple of the identity.
    model = np.trace(spread) / known.sum() * np.diag(known.astype(np.float64))
    found = root @ ((1 - _MODEL_SHARE) * spread + _MODEL_SHARE * model) @ root.T
    found[:3, 3:] *= 1 - _DECOUPLED
    found[3:, :3] *= 1 - _DECOUPLED
    free = vectors[:, ~known] * units[:, None]
    free = free / np.linalg.norm(free / _LARGEST[:, None], axis=0)
    return found * np.outer(units, units) + free @ free.T


def _bounded(covariance: FloatArray) -> FloatArray:
    """The covariance, no larger in any direction than that of an unknown pose."""
    scaled = covariance / np.outer(_LARGEST, _LARGEST)
    values, vectors = np.linalg.eigh((scaled + scaled.T) / 2)
    bounded: FloatArray = (vectors * values.clip(0, 1)) @ vectors.T
    return bounded * np.outer(_LARGEST, _LARGEST)
