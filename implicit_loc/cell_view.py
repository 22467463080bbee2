"""Cells as a pose is computed from them: a row per coordinate, about a camera, finite.

Nothing here waits for the host, and on other devices than the host shapes do not depend on values,
so that a CUDA graph can capture it once it has run. On the host NumPy computes it
(`implicit_loc.arrays`). Positions are taken relative to the camera's, which keeps the digits of
map coordinates far from the origin, in float32 too.
"""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from implicit_loc.arrays import (
    Array,
    Constant,
    at_least,
    at_most,
    beside,
    kept,
    lightest,
    namespace,
    spread,
)
from implicit_loc.cells import Cells
from implicit_loc.poses import rigid_transform

# A point nearer to the camera plane than this has no pixel.
LEAST_DEPTH_M = 0.01

# What is larger is no prediction, in metres or as a ray; the Jacobian still fits into float32.
LARGEST = 1e9

# So many cells are enough for scales and for the first steps.
_ENOUGH_CELLS = 640


class View(NamedTuple):
    """Cells as they are computed with: a row per coordinate, and nothing that is not finite.

    The local frame has the world's axes, and its origin where the camera is thought to be.

    Attributes:
        origin: of the local frame in the world, (B, 3), metres.
        points: world points in the local frame, homogeneous, (B, 4, N), metres.
        tangents: x and y of the rays at unit depth, (B, 2, N).
        depth: predicted, (B, N), metres; None where it does not count.
        farthest: the largest depth that counts, (B, N), metres; None like depth.
        shares: of the weight, (B, N); their sum is 1, or 0 without any usable cell.
        focal_length: (B, 1), pixels.
    """

    origin: Array
    points: Array
    tangents: Array
    depth: Array
    farthest: Array
    shares: Array
    focal_length: Array

    @staticmethod
    def of(
        world_from_camera: Tensor, cells: Cells, weight_exponent: float, with_depth: bool
    ) -> tuple['View', Array]:
        """The cells about a camera, and that camera's camera_from_local, (B, 4, 4)."""
        given = (cells.world_points, cells.camera_points, cells.rays, cells.weights)
        pose, world, camera, rays, weights, focal_length = lightest(
            world_from_camera, *given, cells.focal_length
        )
        xp = namespace(pose)
        origin = pose[:, :3, 3]
        points = world - origin[:, None]
        parts = [points, xp.ones_like(points[..., :1]), spread(rays, points.shape)[..., :2]]
        if with_depth:
            parts.append(spread(camera, points.shape)[..., 2:])
        rows = xp.concatenate([xp.swapaxes(part, 1, 2) for part in parts], axis=1)
        weights = spread(weights, points.shape[:2])
        # A comparison with what is not a number is false.
        usable = (xp.amax(abs(rows), axis=1) < LARGEST) & (weights > 0) & (weights < math.inf)
        rows = kept(rows, usable[:, None])
        depth: Array = at_least(rows[:, 6], LEAST_DEPTH_M) if with_depth else None
        view = View(
            origin,
            rows[:, :4],
            rows[:, 4:6],
            depth,
            2 * depth if with_depth else None,
            _shares(weights, usable, weight_exponent),
            focal_length[:, None],
        )
        return view, view.camera_from_local(pose)

    def thinned(self) -> 'View':
        """Some of very many cells, evenly: a rough answer needs no more."""
        chosen = self._some()
        if chosen is None:
            return self
        return View(
            self.origin,
            _columns(self.points, chosen),
            _columns(self.tangents, chosen),
            None if self.depth is None else _columns(self.depth, chosen),
            None if self.farthest is None else _columns(self.farthest, chosen),
            _columns(self.shares, chosen),
            self.focal_length,
        )

    def _some(self) -> Array | slice | None:
        """Which cells `thinned` takes; None for all."""
        count = self.shares.shape[-1]
        if count < 2 * _ENOUGH_CELLS:
            return None
        if len(self.shares) != 1:
            return slice(None, None, count // _ENOUGH_CELLS)
        # Under a mask few may have weight: every seventh of all could be none of them.
        counted = (self.shares[0] > 0).cumsum(0)
        wanted = _EVENLY.like(counted) * counted[-1] // _ENOUGH_CELLS + 1
        return at_most(namespace(counted).searchsorted(counted, wanted), count - 1)

    def camera_from_local(self, world_from_camera: Array) -> Array:
        """(B, 4, 4) -> (B, 4, 4); what is not finite is taken for 0."""
        pose = beside(world_from_camera, self.points)
        xp = namespace(pose)
        turned, shift = pose[:, :3, :3], (self.origin - pose[:, :3, 3])[..., None]
        rotation = xp.swapaxes(kept(turned, xp.isfinite(turned)), 1, 2)
        return rigid_transform(rotation, (rotation @ kept(shift, xp.isfinite(shift)))[..., 0])

    def world_from_camera(self, camera_from_local: Array) -> Array:
        """(B, 4, 4) -> (B, 4, 4)."""
        rotation = namespace(camera_from_local).swapaxes(camera_from_local[:, :3, :3], 1, 2)
        position = self.origin - (rotation @ camera_from_local[:, :3, 3:])[..., 0]
        return rigid_transform(rotation, position)


def _columns(values: Array, chosen: Array | slice) -> Array:
    """Some columns, in memory of their own."""
    xp = namespace(values)
    return xp.concatenate([values[..., chosen]], axis=-1)


def _shares(weights: Array, usable: Array, exponent: float) -> Array:
    xp = namespace(weights)
    # The power's derivative is infinite at 0, so that cell must not enter it.
    powers = xp.where(usable, xp.where(usable, weights, 1) ** exponent, 0)
    tiny = xp.finfo(weights.dtype).tiny
    # The largest is taken out first: the sum could leave the range of float32.
    relative = powers / at_least(xp.amax(powers, axis=-1, keepdims=True), tiny)
    return relative / at_least(relative.sum(axis=-1, keepdims=True), tiny)


_EVENLY = Constant(np.arange(_ENOUGH_CELLS, dtype=np.float64))
