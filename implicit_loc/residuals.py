"""Reprojection and depth errors of cells under a pose, and their derivatives.

A cell's world point g is seen from the camera at p = R^T (g - t). Its reprojection error is the
distance in pixels of p's image from the pixel that the cell looks through; its depth error is
that of p's depth from the predicted one.

Nothing here waits for the host, and shapes do not depend on values (`implicit_loc.cell_view`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from implicit_loc.arrays import Array, Constant, at_least, at_most, namespace
from implicit_loc.cell_view import LEAST_DEPTH_M, View


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
            the predicted depth. None where the depth does not count.
        fixed_depth: whether depth_error has its largest size and does not change with the pose,
            (B, N); None like depth_error.
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
    in_front = at_least(depth, LEAST_DEPTH_M)
    inverse = 1 / in_front
    tangents = seen[:, :2] * inverse[:, None]
    offsets = tangents - view.tangents
    squared = at_most(xp.where(in_front == depth, _products(offsets, offsets), 1), 1)
    if view.depth is None:
        return Residuals(seen, inverse, tangents, offsets, squared, None, None)
    compared = xp.minimum(in_front, view.farthest)
    error, is_fixed = compared - view.depth, compared != depth
    return Residuals(seen, inverse, tangents, offsets, squared, error, is_fixed)


def quadratic_model(
    found: Residuals, offset_weights: Array, depth_weights: Array | None
) -> tuple[Array, Array]:
    """Half the gradient and the curvature of sums of weighted squared errors, by rho and phi.

    A step moves p by dp = rho + phi x p, and its errors by d(x / z) = (dx - (x / z) dz) / z,
    likewise for y, and dz. These derivatives are linear in a few numbers of the cell, so that
    both results are fixed linear functions of sums over the cells of their products.

    Args:
        found: of every cell.
        offset_weights: of the squared errors of the tangents, (B, N).
        depth_weights: of those of the depth, (B, N); None where the depth does not count.

    Returns:
        Gradient (B, 6) and information (B, 6, 6), for Gauss-Newton.
    """
    numbers = [*_numbers_of_offsets(found), found.offsets]
    model = _summed(numbers, offset_weights) @ _MODEL_OF_OFFSETS.like(offset_weights)
    if depth_weights is not None:
        numbers = [*_numbers_of_depths(found), found.depth_error[:, None]]
        model = model + _summed(numbers, depth_weights) @ _MODEL_OF_DEPTHS.like(depth_weights)
    return model[:, 36:], model[:, :36].reshape(-1, 6, 6)


def cell_gradients(found: Residuals, offset_weights: Array, depth_weights: Array | None) -> Array:
    """What every cell adds to the gradient of `quadratic_model`, whose arguments it takes.

    Returns:
        (B, 6, N).
    """
    xp = namespace(offset_weights)
    numbers = xp.concatenate(_numbers_of_offsets(found), axis=1)
    pulls = offset_weights[:, None] * found.offsets
    pulled = xp.concatenate([numbers * pulls[:, :1], numbers * pulls[:, 1:]], axis=1)
    gradients = _GRADIENTS_OF_OFFSETS.like(pulled) @ pulled
    if depth_weights is not None:
        numbers = xp.concatenate(_numbers_of_depths(found), axis=1)
        pulled = numbers * (depth_weights * found.depth_error)[:, None]
        gradients = gradients + _GRADIENTS_OF_DEPTHS.like(pulled) @ pulled
    return gradients


def _numbers_of_offsets(found: Residuals) -> list[Array]:
    """1 / z, u / z, v / z, 1 + u^2, 1 + v^2, u v, u and v with the tangents u and v."""
    inverse, tangents = found.inverse_depth[:, None], found.tangents
    crossed = tangents[:, :1] * tangents[:, 1:]
    return [inverse, inverse * tangents, 1 + tangents * tangents, crossed, tangents]


def _numbers_of_depths(found: Residuals) -> list[Array]:
    """The numbers x, y and 1."""
    return [found.seen[:, :2], namespace(found.seen).ones_like(found.seen[:, :1])]


def _summed(numbers: Sequence[Array], weights: Array) -> Array:
    """Weighted sums over the cells of all products of K numbers, (B, K * K)."""
    rows = namespace(weights).concatenate(numbers, axis=1)
    sums = (weights[:, None] * rows) @ namespace(weights).swapaxes(rows, 1, 2)
    return sums.reshape(len(weights), -1)


def _derivatives(count: int, parts: Mapping[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of an error by rho and phi: by each of the numbers that it is linear in, (count, 6)."""
    rows = np.zeros((count, 6))
    for number, direction in parts.items():
        rows[number] = direction
    return rows


def _model_of_sums(*derivatives: NDArray[np.float64]) -> Constant:
    """What sums of products add to curvature (36) and gradient (6): (K * K, 42).

    Args:
        derivatives: of every error, each (L, 6). The K numbers are the L, and then the errors.
    """
    numbers = len(derivatives[0])
    count = numbers + len(derivatives)
    result = np.zeros((count, count, 42))
    for error, rows in enumerate(derivatives, start=numbers):
        curvature = np.einsum('ia,jb->ijab', rows, rows)
        result[:numbers, :numbers, :36] += curvature.reshape(numbers, numbers, 36)
        result[:numbers, error, 36:] += rows
    return Constant(result.reshape(-1, 42))


_X, _Y, _Z, _ABOUT_X, _ABOUT_Y, _ABOUT_Z = np.eye(6)
_OF_U = _derivatives(8, {0: _X, 1: -_Z, 3: _ABOUT_Y, 5: -_ABOUT_X, 7: -_ABOUT_Z})
_OF_V = _derivatives(8, {0: _Y, 2: -_Z, 4: -_ABOUT_X, 5: _ABOUT_Y, 6: _ABOUT_Z})
_OF_DEPTH = _derivatives(3, {0: -_ABOUT_Y, 1: _ABOUT_X, 2: _Z})

_MODEL_OF_OFFSETS = _model_of_sums(_OF_U, _OF_V)
_MODEL_OF_DEPTHS = _model_of_sums(_OF_DEPTH)
_GRADIENTS_OF_OFFSETS = Constant(np.concatenate([_OF_U, _OF_V]).T)
_GRADIENTS_OF_DEPTHS = Constant(_OF_DEPTH.T)


def _products(first: Array, second: Array) -> Array:
    """Inner products over the coordinates, (B, 2, N), (B, 2, N) -> (B, N)."""
    return first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1]
