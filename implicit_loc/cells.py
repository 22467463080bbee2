"""What a solver sees of an image: the output cells with their predicted geometry."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import Constant
from implicit_loc.camera import Camera
from implicit_loc.errors import AlignmentError
from implicit_loc.network import SceneGeometry

# Smallest sum of two singular values, relative to the largest, that still fixes the rotation.
_DEGENERATE = 1e-6

# Spread below which all points count as one, square metres.
_ONE_POINT_M2 = 1e-12

# A pose needs three.
FEWEST_CELLS = 3

OPTICAL_AXIS = Constant(np.array([0.0, 0.0, 1.0]))


@dataclass(frozen=True)
class Cells:
    """The cells of B images, N each, on any device, in float32 or float64.

    Attributes:
        world_points: g, (B, N, 3), metres.
        camera_points: c, (B, N, 3), metres.
        rays: of unit depth, (B, N, 3).
        weights: non-negative, (B, N); a cell of weight zero is not used, whatever it holds.
        focal_length: of the network's input, (B,), pixels.
    """

    world_points: Tensor
    camera_points: Tensor
    rays: Tensor
    weights: Tensor
    focal_length: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> 'Cells':
        """The cells with every tensor changed."""
        return Cells(
            change(self.world_points),
            change(self.camera_points),
            change(self.rays),
            change(self.weights),
            change(self.focal_length),
        )


def cells_of_prediction(
    geometry: SceneGeometry[NDArray[np.float32]], camera: Camera, stride: int
) -> Cells:
    """The cells of one image, on the host in float64: there a pose takes less than a GPU's start.

    Args:
        geometry: of the network, without a batch dimension.
        camera: of the network's input.
        stride: pixels of the input per cell.

    Returns:
        Cells with B = 1. A cell that the camera's model has no ray for has weight zero.
    """
    rays, visible = rays_of_cells(camera, stride)
    precise = geometry.map(lambda array: array.astype(np.float64))
    with np.errstate(invalid='ignore'):  # `usable_cells` drops what is not finite
        camera_points = precise.camera_points(rays.reshape(precise.world_points.shape))

    def batched(array: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(array.reshape(1, -1, 3))

    return Cells(
        batched(precise.world_points),
        batched(camera_points),
        batched(rays),
        torch.from_numpy(np.where(visible, precise.weights.ravel(), 0.0))[None],
        torch.tensor([camera.focal_length], dtype=torch.float64),
    )


@lru_cache(maxsize=16)
def rays_of_cells(camera: Camera, stride: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rays (N, 3) of all cells, and which of them the camera's model covers."""
    rays = camera.rays(stride).reshape(-1, 3).astype(np.float64)
    visible = np.asarray(np.isfinite(rays).all(axis=-1))
    rays[~visible] = (0.0, 0.0, 1.0)
    return rays, visible


def usable_cells(cells: Cells) -> Cells:
    """The cells with those that are not finite left out, if they still determine a pose.

    Returns:
        The same cells; one that is not finite has weight zero, and one of weight zero holds
        zeros and the optical axis, so that no arithmetic on it can go wrong.

    Raises:
        AlignmentError: in one of the images no cell is finite, a weight is negative, fewer than
            three cells have weight, or the points lie on a line or in one point.
    """
    usable = torch.ones_like(cells.weights, dtype=torch.bool)
    for name, values in (
        ('world points', cells.world_points),
        ('camera points', cells.camera_points),
        ('rays', cells.rays),
        ('weights', cells.weights[..., None]),
    ):
        usable &= values.isfinite().all(dim=-1)
        if not usable.any(dim=-1).all():
            raise AlignmentError(f'the predicted {name} are not finite')
    negative = int((usable & (cells.weights < 0)).sum())
    if negative:
        raise AlignmentError(f'{negative} cells have a negative weight')
    usable &= cells.weights > 0
    fewest = int(usable.sum(dim=-1).min())
    if fewest < FEWEST_CELLS:
        raise AlignmentError(f'{fewest} cells have weight: a pose needs three')
    cleaned = only(cells, usable)
    if not fixes_rotation(covariance_of_clouds(cleaned)).all():
        raise AlignmentError(
            'the predicted points lie on a line or in one point: they do not fix a rotation'
        )
    return cleaned


def only(cells: Cells, usable: Tensor) -> Cells:
    """The cells, those that are not usable (B, N) as `usable_cells` leaves them."""
    return Cells(
        torch.where(usable[..., None], cells.world_points, 0),
        torch.where(usable[..., None], cells.camera_points, 0),
        torch.where(usable[..., None], cells.rays, OPTICAL_AXIS.like(cells.rays)),
        torch.where(usable, cells.weights, 0),
        cells.focal_length,
    )


def covariance_of_clouds(cells: Cells) -> Tensor:
    """Of world and camera points, weighted, (B, 3, 3), float64, m2."""
    shares = (cells.weights / cells.weights.sum(dim=-1, keepdim=True))[..., None].double()
    world, camera = (
        points - (shares * points).sum(dim=-2, keepdim=True)
        for points in (cells.world_points.double(), cells.camera_points.double())
    )
    return (shares * world).mT @ camera


def fixes_rotation(covariance: Tensor) -> Tensor:
    """Whether clouds of a covariance (B, 3, 3) determine their alignment (Kabsch 1976), (B,)."""
    first, second, third = torch.linalg.svdvals(covariance).unbind(dim=-1)
    fixed = second + torch.det(covariance).sign() * third > _DEGENERATE * first
    return fixed & (first > _ONE_POINT_M2)
