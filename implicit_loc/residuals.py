"""Reprojection and depth errors of cells under a pose, and their derivatives.

A cell's world point g is seen from the camera at p = R^T (g - t). Its reprojection error is the
distance in pixels of p's image from the pixel that the cell looks through; its depth error is
that of p's depth from the predicted one.

Nothing here waits for the host, and shapes do not depend on values, so that a CUDA graph can
capture it. Positions are taken relative to the camera's, which keeps the digits of map
coordinates far from the origin, in float32 too.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from implicit_loc.cells import Cells
from implicit_loc.poses import rigid_transform

# A point nearer to the camera plane than this has no pixel.
_LEAST_DEPTH_M = 0.01

# What is larger is no prediction, in metres or as a ray; the Jacobian still fits into float32.
_LARGEST = 1e9

# So many cells are enough for scales and for the first steps.
_ENOUGH_CELLS = 1024


class View(NamedTuple):
    """Cells as they are computed with: a row per coordinate, and nothing that is not finite.

    The local frame has the world's axes, and its origin where the camera is thought to be.

    Attributes:
        origin: of the local frame in the world, (B, 3), metres.
        points: world points in the local frame, homogeneous, (B, 4, N), metres.
        targets: x and y of the ray at unit depth, and the predicted depth, (B, 3, N).
        farthest: the largest depth that counts, (B, N), metres.
        shares: of the weight, (B, N); their sum is 1, or 0 without any usable cell.
        focal_length: (B, 1), pixels.
    """

    origin: Tensor
    points: Tensor
    targets: Tensor
    farthest: Tensor
    shares: Tensor
    focal_length: Tensor

    @staticmethod
    def of(
        world_from_camera: Tensor, cells: Cells, weight_exponent: float
    ) -> tuple['View', Tensor]:
        """The cells about a camera, and that camera's camera_from_local, (B, 3, 4)."""
        origin = world_from_camera[:, :3, 3]
        points = cells.world_points - origin.unsqueeze(1)
        parts = [points, cells.rays.expand_as(points), cells.camera_points.expand_as(points)]
        rows = torch.cat(parts, dim=-1).mT.contiguous()
        weights = cells.weights.expand_as(rows[:, 0])
        # A comparison with what is not a number is false.
        usable = (rows.abs().amax(dim=1) < _LARGEST) & (weights > 0) & (weights < torch.inf)
        rows = torch.where(usable.unsqueeze(1), rows, 0)
        rotation = torch.where(torch.isfinite(world_from_camera), world_from_camera, 0)
        depths = rows[:, 8:].clamp_min(_LEAST_DEPTH_M)
        view = View(
            origin,
            torch.cat([rows[:, :3], torch.ones_like(depths)], dim=1),
            torch.cat([rows[:, 3:5], depths], dim=1),
            2 * depths[:, 0],
            _shares(weights, usable, weight_exponent),
            cells.focal_length.unsqueeze(1),
        )
        return view, functional.pad(rotation[:, :3, :3].mT, (0, 1))

    def thinned(self) -> 'View':
        """Some of very many cells, evenly: a rough answer needs no more."""
        every = max(1, self.shares.shape[-1] // _ENOUGH_CELLS)
        if every == 1:
            return self
        return View(
            self.origin,
            self.points[..., ::every].contiguous(),
            self.targets[..., ::every].contiguous(),
            self.farthest[..., ::every].contiguous(),
            self.shares[..., ::every].contiguous(),
            self.focal_length,
        )

    def world_from_camera(self, camera_from_local: Tensor) -> Tensor:
        """(B, 3, 4) -> (B, 4, 4)."""
        rotation = camera_from_local[..., :3].mT
        position = self.origin - (rotation @ camera_from_local[..., 3:])[..., 0]
        return rigid_transform(rotation, position)


class Residuals(NamedTuple):
    """Of every cell, under one pose; all (B, N).

    Attributes:
        x: of p in the camera frame, metres.
        y: the same.
        inverse_depth: 1 / z of p, or that just in front of the camera.
        a: x / z.
        b: y / z.
        offset_a: error of x / z.
        offset_b: error of y / z.
        depth_error: of z, metres; z counts as from just in front of the camera to twice the
            predicted depth.
        squared_offset: of both offsets together; at most 1, which is that of a point behind the
            camera.
        fixed_depth: whether depth_error has its largest size and does not change with the pose.
    """

    x: Tensor
    y: Tensor
    inverse_depth: Tensor
    a: Tensor
    b: Tensor
    offset_a: Tensor
    offset_b: Tensor
    depth_error: Tensor
    squared_offset: Tensor
    fixed_depth: Tensor


def residuals(view: View, camera_from_local: Tensor) -> Residuals:
    """Of all cells under camera_from_local, (B, 3, 4)."""
    x, y, z = torch.bmm(camera_from_local, view.points).unbind(1)
    target_a, target_b, target_depth = view.targets.unbind(1)
    in_front = z.clamp_min(_LEAST_DEPTH_M)
    compared = in_front.minimum(view.farthest)
    inverse = in_front.reciprocal()
    a, b = x * inverse, y * inverse
    u, v = a - target_a, b - target_b
    squared = torch.addcmul(u * u, v, v).masked_fill(in_front != z, 1).clamp_max(1)
    return Residuals(x, y, inverse, a, b, u, v, compared - target_depth, squared, compared != z)


def jacobian_of(found: Residuals) -> Tensor:
    """Derivatives of the three errors by rho and phi, and the errors themselves, (B, 7, 3, N).

    d(x / z) = (dx - (x / z) dz) / z and likewise for y, with dp = rho + phi x p.
    """
    a, b, inverse = found.a, found.b, found.inverse_depth
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    minus_a, minus_b = -a, -b
    minus_product = minus_a * b
    columns = [
        (inverse, zero, zero),
        (zero, inverse, zero),
        (minus_a * inverse, minus_b * inverse, one),
        (minus_product, torch.addcmul(one, b, b).neg(), found.y),
        (torch.addcmul(one, a, a), -minus_product, -found.x),
        (minus_b, a, zero),
        (found.offset_a, found.offset_b, found.depth_error),
    ]
    rows = torch.stack([row for column in columns for row in column], dim=1)
    return rows.unflatten(1, (7, 3))


def _shares(weights: Tensor, usable: Tensor, exponent: float) -> Tensor:
    # The power's derivative is infinite at 0, so that cell must not enter it.
    powers = torch.where(usable, torch.where(usable, weights, 1).pow(exponent), 0)
    tiny = torch.finfo(weights.dtype).tiny
    # The largest is taken out first: the sum could leave the range of float32.
    relative = powers / powers.amax(dim=-1, keepdim=True).clamp_min(tiny)
    return relative / relative.sum(dim=-1, keepdim=True).clamp_min(tiny)
