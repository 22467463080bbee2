"""Camera pose from world points and rays alone: the closed form that needs no depth.

The reduction of SQPnP (Terzakis and Lourakis 2020) turns any number of points into one 9x9
quadratic form of the rotation. It is minimised over SO(3) from a fixed set of rotations, so the
result depends on no guess, and the cost of a step not on the number of points.
"""

import itertools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import (
    Array,
    Constant,
    at_least,
    at_most,
    kept,
    lightest,
    namespace,
    row_sums,
    spread,
    to_torch,
    unwarned,
)
from implicit_loc.poses import rigid_transform, skew

# Gauss-Newton steps from every start, which tell the basins apart, and Newton steps in the best.
_STEPS = 5
_POLISHING_STEPS = 4

_FIRST_DAMPING, _LEAST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e-15, 1e3

# At a minimum rounding alone decides which of two costs is lower; Newton still gains digits.
_ROUNDING = 1e-14

_TINY = 1e-300


def resect(world_points: Tensor, rays: Tensor, weights: Tensor) -> Tensor:
    """The pose that brings the points closest to their rays, in metres.

    Minimises sum_i w_i |(I - v_i v_i^T) p_i|^2 with p = R^T (g - t) and the unit ray v, over
    poses with the weighted mean of the points in front of the camera: a plane fits as well from
    behind. There is no data-dependent branch, no decomposition and no library call that waits
    for the host, so that a CUDA graph can capture it.

    Args:
        world_points: g, (B, N, 3), metres.
        rays: towards the points in the camera frame, (B, N, 3), of any length; one of length
            zero says nothing.
        weights: non-negative, (B, N); their scale does not matter. A point of weight zero may
            hold anything.

    Returns:
        world_from_camera, (B, 4, 4), in the precision of the points; computed in float64, for
        the 9x9 form cancels where the field of view is small. Where the points determine no pose
        (fewer than three, on a line) it is one of many, and finite.
    """
    given = lightest(world_points.double(), rays.double(), weights.double())
    with unwarned():
        pose = to_torch(_resected(*given))
    return pose.to(world_points.dtype)


def _resected(world_points: Array, rays: Array, weights: Array) -> Array:
    """As `resect`, in float64."""
    xp = namespace(weights)
    rows = xp.concatenate([xp.swapaxes(part, 1, 2) for part in (world_points, rays)], axis=1)
    rows = kept(rows, (weights > 0)[:, None])
    points, rays = rows[:, :3], rows[:, 3:]
    shares = weights / at_least(weights.sum(axis=-1), _TINY)[:, None]
    mean = points @ shares[..., None]
    centred = points - mean
    # Points of unit spread: damping and thresholds below have no unit.
    variance = row_sums((centred * centred).sum(axis=1), shares)
    size = xp.where(variance > _TINY, variance, 1)[:, None, None] ** 0.5
    form, position = _reduce(centred / size, rays, shares)
    starts = spread(_STARTS.like(form), (len(form), 24, 3, 3))
    rotations = _minimise(_expansion(form, exact_curvature=False), starts, _STEPS)
    best = _best(form, position, rotations)
    rotation = _minimise(_expansion(form, exact_curvature=True), best, _POLISHING_STEPS)[:, 0]
    translation = size * (position @ rotation.reshape(-1, 9, 1))
    turned = xp.swapaxes(rotation, 1, 2)
    return rigid_transform(turned, (mean - turned @ translation)[..., 0])


def _reduce(points: Array, rays: Array, shares: Array) -> tuple[Array, Array]:
    """The cost r^T Omega r of a rotation r, row by row, and its best translation t = P r.

    Args:
        points: (B, 3, N), finite.
        rays: (B, 3, N), likewise.
        shares: of the weight, (B, N).

    Returns:
        Omega, (B, 9, 9), and P, (B, 3, 9).
    """
    xp = namespace(points)
    batch, _, count = points.shape
    extended = xp.concatenate([points, xp.ones_like(points[:, :1])], axis=1)
    products = (extended[:, :, None] * extended[:, None]).reshape(batch, 16, count)
    squares = (rays * rays).sum(axis=1)
    weighted = rays * (shares / xp.where((shares > 0) & (squares > 0), squares, 1))[:, None]
    along = (rays[:, :, None] * weighted[:, None]).reshape(batch, 9, count)
    # Sums of v v^T over the cells give those of I - v v^T: the trace of v v^T is 1.
    moments = _ACROSS.like(along) @ (along @ xp.swapaxes(products, 1, 2))
    moments = moments.reshape(batch, 3, 3, 4, 4)
    mixed = moments[..., :3, 3].reshape(batch, 3, 9)
    quadratic = xp.swapaxes(moments[..., :3, :3], 2, 3).reshape(batch, 9, 9)
    position = -_invert(moments[:, None, ..., 3, 3])[:, 0] @ mixed
    return quadratic + xp.swapaxes(mixed, 1, 2) @ position, position


def _expansion(form: Array, exact_curvature: bool) -> Array:
    """The cost about every rotation r: a fixed linear function of the products r_i r_j.

    Args:
        form: Omega, (B, 9, 9).
        exact_curvature: Newton instead of Gauss-Newton: it converges quadratically to a minimum
            whose cost is not zero, but far from one it may not descend.

    Returns:
        (B, 81, 16): of the 4x4 system of the rotation and its derivatives about the three axes,
        which holds the cost, half of its gradient and half of its curvature.
    """
    xp, batch = namespace(form), len(form)
    first = _FIRST_DERIVATIVES.like(form)
    # Row i, a by j, b.
    system = (xp.swapaxes(first, 0, 1) @ form @ first).reshape(batch, 9, 4, 9, 4)
    system = xp.swapaxes(system, 2, 3)
    if exact_curvature:
        bent = form @ _SECOND_DERIVATIVES.like(form)
        system = system + bent.reshape(batch, 9, 9, 4, 4)
    return system.reshape(batch, 81, 16)


def _minimise(expansion: Array, rotations: Array, steps: int) -> Array:
    """Levenberg-Marquardt on SO(3) from every start, (B, S, 3, 3) -> (B, S, 3, 3).

    Args:
        expansion: of the cost, (B, 81, 16).
        rotations: the starts.
        steps: how many; one that does not lower the cost is not taken.
    """
    xp = namespace(rotations)
    # The trace of Omega.
    scale = expansion[:, ::10, :1].sum(axis=1)
    identity = scale[..., None, None] * _IDENTITY.like(rotations)
    rounding = _ROUNDING * scale
    system = _system(expansion, rotations)
    damping = xp.full_like(system[..., 0, 0], _FIRST_DAMPING)
    for _ in range(steps):
        curvature = system[..., 1:, 1:] + damping[..., None, None] * identity
        candidate = _turned(rotations, -_invert(curvature) @ system[..., 1:, :1])
        found = _system(expansion, candidate)
        better = found[..., 0, 0] <= system[..., 0, 0] + rounding
        is_taken = better[..., None, None]
        rotations = xp.where(is_taken, candidate, rotations)
        system = xp.where(is_taken, found, system)
        damping = at_least(damping * xp.where(better, 1e-2, 10.0), _LEAST_DAMPING)
        damping = at_most(damping, _LARGEST_DAMPING)
    return rotations


def _system(expansion: Array, rotations: Array) -> Array:
    """Of the expansion, at rotations (B, S, 3, 3): the 4x4 systems, (B, S, 4, 4)."""
    batch, starts = rotations.shape[:2]
    return (_squares(rotations) @ expansion).reshape(batch, starts, 4, 4)


def _squares(matrix: Array) -> Array:
    """Products of all pairs of entries, (B, S, 3, 3) -> (B, S, 81)."""
    batch, count = matrix.shape[:2]
    column = matrix.reshape(batch, count, 9, 1)
    return (column @ column.reshape(batch, count, 1, 9)).reshape(batch, count, 81)


def _turned(rotation: Array, vector: Array) -> Array:
    # Cayley's map: a rotation for every vector, and the exponential up to third order.
    cross = (_HALF_CROSS.like(vector) @ vector).reshape(rotation.shape)
    turned = cross @ rotation
    factor = 2 / (1 + (vector * vector).sum(axis=-2) / 4)
    return rotation + factor[..., None] * (turned + cross @ turned)


def _best(form: Array, position: Array, rotations: Array) -> Array:
    """The rotation of least cost among those with the mean point in front, (B, 1, 3, 3)."""
    xp = namespace(form)
    flat = rotations.reshape(*rotations.shape[:2], 9)
    cost = ((flat @ form) * flat).sum(axis=-1)
    # The points are centred: the translation is their weighted mean in the camera frame.
    depth = (flat @ position[:, 2, :, None])[..., 0]
    least = xp.where(depth > 0, cost, math.inf).argmin(axis=-1)
    is_best = least[:, None] == _COUNTED.like(form)
    return xp.where(is_best[..., None], flat, 0).sum(axis=1).reshape(-1, 1, 3, 3)


def _invert(matrix: Array) -> Array:
    """Inverse of (B, S, 3, 3) by cofactors: a library call would wait for the host.

    A singular matrix has a huge one instead.
    """
    cofactors = (_squares(matrix) @ _COFACTORS.like(matrix)).reshape(matrix.shape)
    determinant = (matrix[..., 0, :] * cofactors[..., 0, :]).sum(axis=-1)[..., None, None]
    safe = namespace(matrix).where(abs(determinant) > _TINY, determinant, _TINY)
    return namespace(matrix).swapaxes(cofactors, -1, -2) / safe


def _rotations_of_axes() -> NDArray[np.float64]:
    """The 24 rotations that map the axes onto each other, (24, 3, 3).

    No rotation is farther than 62.8 degrees from one of them.
    """
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.diag(signs)[list(order)]
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.stack(found)


def _derivatives() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a rotation r, row by row, when exp(x) stands before it.

    Returns:
        F (9, 36): what r, and its three first derivatives, are of r. S (9, 144): the same of the
        4x4 of second derivatives, without those by r itself.
    """
    axes = skew(torch.eye(3)).double().numpy()
    turns = np.concatenate([np.eye(3)[None], axes])
    first = np.stack([np.kron(turn, np.eye(3)) for turn in turns], axis=-1)
    second = np.zeros((9, 9, 4, 4))
    for (i, one), (j, other) in itertools.product(enumerate(axes), repeat=2):
        second[..., i + 1, j + 1] = np.kron((one @ other + other @ one) / 2, np.eye(3))
    return first.reshape(9, 36), second.reshape(9, 144)


def _cofactors() -> NDArray[np.float64]:
    """Of which products of two entries of a 3x3 matrix its cofactors are sums, (81, 9)."""
    levi_civita = skew(torch.eye(3)).double().numpy()
    return np.einsum('aik,bjl->ijklab', levi_civita, levi_civita).reshape(81, 9) / 2


_STARTS = Constant(_rotations_of_axes())
_COUNTED = Constant(np.arange(24, dtype=np.float64))
_IDENTITY = Constant(np.eye(3))
_COFACTORS = Constant(_cofactors())
# Half of the vector's cross product, row by row; and of v v^T, row by row, tr(v v^T) I - v v^T.
_HALF_CROSS = Constant(skew(torch.eye(3)).double().numpy().reshape(3, 9).T / 2)
_ACROSS = Constant(np.outer(np.eye(3), np.eye(3)) - np.eye(9))
_FIRST_DERIVATIVES, _SECOND_DERIVATIVES = map(Constant, _derivatives())
