"""Reprojection and depth errors of cells under a pose, and their derivatives.

A cell's world point g is seen from the camera at p = R^T (g - t). Its reprojection error is the
distance in pixels of p's image from the pixel that the cell looks through; its depth error is
that of p's depth from the predicted one.

Nothing here waits for the host, and shapes do not depend on values, so that a CUDA graph can
capture it once it has run. On the host NumPy computes it (`implicit_loc.arrays`). Positions are
taken relative to the camera's, which keeps the digits of map coordinates far from the origin, in
float32 too.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import (
    Array,
    Constant,
    at_least,
    at_most,
    may_leave_torch,
    namespace,
    to_numpy,
    to_torch,
)
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
        tangents: x and y of the rays at unit depth, (B, 2, N).
        depth: predicted, (B, N), metres.
        farthest: the largest depth that counts, (B, N), metres.
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
        world_from_camera: Tensor, cells: Cells, weight_exponent: float
    ) -> tuple['View', Array]:
        """The cells about a camera, and that camera's camera_from_local, (B, 4, 4)."""
        pose: Array = world_from_camera
        if may_leave_torch(pose, cells.world_points, cells.camera_points, cells.weights):
            pose, cells = to_numpy(pose), cells.map(to_numpy)
        xp = namespace(pose)
        origin = pose[:, :3, 3]
        points = cells.world_points - origin[:, None]
        rays = xp.broadcast_to(cells.rays, points.shape)
        camera_points = xp.broadcast_to(cells.camera_points, points.shape)
        parts = (points, rays[..., :2], camera_points[..., 2:])
        rows = xp.concatenate([xp.swapaxes(part, 1, 2) for part in parts], axis=1)
        weights = xp.broadcast_to(cells.weights, points.shape[:2])
        # A comparison with what is not a number is false.
        usable = (xp.amax(abs(rows), axis=1) < _LARGEST) & (weights > 0) & (weights < math.inf)
        rows = xp.where(usable[:, None], rows, 0)
        depth = at_least(rows[:, 5], _LEAST_DEPTH_M)
        finite = xp.where(xp.isfinite(pose), pose, 0)
        rotation = xp.swapaxes(finite[:, :3, :3], 1, 2)
        lowest = xp.broadcast_to(_LOWEST_ROW.like(pose), pose[:, :1].shape)
        view = View(
            origin,
            xp.concatenate([rows[:, :3], xp.ones_like(depth)[:, None]], axis=1),
            rows[:, 3:5],
            depth,
            2 * depth,
            _shares(weights, usable, weight_exponent),
            cells.focal_length[:, None],
        )
        upper = xp.concatenate([rotation, xp.zeros_like(rotation[..., :1])], axis=2)
        return view, xp.concatenate([upper, lowest], axis=1)

    def thinned(self) -> 'View':
        """Some of very many cells, evenly: a rough answer needs no more."""
        every = max(1, self.shares.shape[-1] // _ENOUGH_CELLS)
        if every == 1:
            return self
        return View(
            self.origin,
            _every(self.points, every),
            _every(self.tangents, every),
            _every(self.depth, every),
            _every(self.farthest, every),
            _every(self.shares, every),
            self.focal_length,
        )

    def world_from_camera(self, camera_from_local: Array) -> Tensor:
        """(B, 4, 4) -> (B, 4, 4)."""
        rotation = namespace(camera_from_local).swapaxes(camera_from_local[:, :3, :3], 1, 2)
        position = self.origin - (rotation @ camera_from_local[:, :3, 3:])[..., 0]
        return rigid_transform(to_torch(rotation), to_torch(position))


class Residuals(NamedTuple):
    """Of every cell, under one pose.

    Attributes:
        seen: p in the camera frame, homogeneous, (B, 4, N), metres.
        inverse_depth: 1 / z of p, or that just in front of the camera, (B, N).
        tangents: x / z and y / z, (B, 2, N).
        offsets: errors of the tangents, (B, 2, N).
        squared_offset: of both together, (B, N); at most 1, which is that of a point behind the
            camera.
        depth_error: of z, (B, N), metres; z counts as from just in front of the camera to twice
            the predicted depth.
        fixed_depth: whether depth_error has its largest size and does not change with the pose,
            (B, N).
    """

    seen: Array
    inverse_depth: Array
    tangents: Array
    offsets: Array
    squared_offset: Array
    depth_error: Array
    fixed_depth: Array


def residuals(view: View, camera_from_local: Array) -> Residuals:
    """Of all cells under camera_from_local, (B, 4, 4)."""
    xp = namespace(camera_from_local)
    seen = camera_from_local @ view.points
    depth = seen[:, 2]
    in_front = at_least(depth, _LEAST_DEPTH_M)
    compared = xp.minimum(in_front, view.farthest)
    inverse = 1 / in_front
    tangents = seen[:, :2] * inverse[:, None]
    offsets = tangents - view.tangents
    squared = at_most(xp.where(in_front == depth, _products(offsets, offsets), 1), 1)
    return Residuals(
        seen, inverse, tangents, offsets, squared, compared - view.depth, compared != depth
    )


def quadratic_model(
    found: Residuals, offset_weights: Array, depth_weights: Array
) -> tuple[Array, Array]:
    """Half the gradient and the curvature of sums of weighted squared errors, by rho and phi.

    A step moves p by dp = rho + phi x p, and its errors by d(x / z) = (dx - (x / z) dz) / z,
    likewise for y, and dz. Each part of dp is linear in p, so both results are fixed linear
    functions of sums over all cells: of the products of p with itself and of what stands before
    dp in the squares.

    Args:
        found: of every cell.
        offset_weights: of the squared errors of the tangents, (B, N).
        depth_weights: of those of the depth, (B, N).

    Returns:
        Gradient (B, 6) and information (B, 6, 6), for Gauss-Newton.
    """
    xp = namespace(offset_weights)
    pull = (offset_weights * found.inverse_depth)[:, None]
    pulls = pull * found.offsets
    stiffness = pull * found.inverse_depth[:, None]
    stiffnesses = stiffness * found.tangents
    along = depth_weights + _products(stiffnesses, found.tangents)
    pull_along = depth_weights * found.depth_error - _products(pulls, found.tangents)
    parts = [stiffness, stiffnesses, along[:, None], pulls, pull_along[:, None]]
    products = found.seen[:, None] * found.seen[:, :, None]
    sums = xp.concatenate(parts, axis=1) @ xp.swapaxes(products.reshape(len(pull), 16, -1), 1, 2)
    model = sums.reshape(len(pull), -1) @ _MODEL_OF_SUMS.like(sums)
    return model[:, 36:], model[:, :36].reshape(-1, 6, 6)


def _model_of_sums() -> NDArray[np.float64]:
    """What the sums of `quadratic_model` (7 x 4 x 4) add to curvature (36) and gradient (6)."""
    # Of x, y and z: the derivative by rho and phi, one row for each entry of the homogeneous p.
    moved = np.zeros((3, 4, 6))
    for axis in range(3):
        after, last = (axis + 1) % 3, (axis + 2) % 3
        moved[axis, 3, axis] = 1
        moved[axis, last, 3 + after] = 1
        moved[axis, after, 3 + last] = -1
    # Before which pairs of dx, dy, dz the four stiffnesses stand, and with which sign.
    pairs = [
        [(0, 0, 1), (1, 1, 1)],
        [(0, 2, -1), (2, 0, -1)],
        [(1, 2, -1), (2, 1, -1)],
        [(2, 2, 1)],
    ]
    result = np.zeros((7, 4, 4, 42))
    for part, entries in enumerate(pairs):
        for first, second, sign in entries:
            curvature = np.einsum('ia,jb->ijab', moved[first], moved[second])
            result[part, ..., :36] += sign * curvature.reshape(4, 4, 36)
    for axis in range(3):
        result[4 + axis, :, 3, 36:] = moved[axis]
    return result.reshape(-1, 42)


_MODEL_OF_SUMS = Constant(_model_of_sums())
_LOWEST_ROW = Constant(np.array([0.0, 0.0, 0.0, 1.0]))


def _products(first: Array, second: Array) -> Array:
    """Inner products over the coordinates, (B, 2, N), (B, 2, N) -> (B, N)."""
    return first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1]


def _every(values: Array, step: int) -> Array:
    """Each so many columns, in memory of their own."""
    xp = namespace(values)
    return xp.concatenate([values[..., ::step]], axis=-1)


def _shares(weights: Array, usable: Array, exponent: float) -> Array:
    xp = namespace(weights)
    # The power's derivative is infinite at 0, so that cell must not enter it.
    powers = xp.where(usable, xp.where(usable, weights, 1) ** exponent, 0)
    tiny = xp.finfo(weights.dtype).tiny
    # The largest is taken out first: the sum could leave the range of float32.
    relative = powers / at_least(xp.amax(powers, axis=-1, keepdims=True), tiny)
    return relative / at_least(relative.sum(axis=-1, keepdims=True), tiny)
