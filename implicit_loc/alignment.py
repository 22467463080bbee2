"""Weighted rigid alignment of two point clouds (Kabsch 1976, Altillawi et al. 2023, eq. 2-4).

Batched; differentiable by the implicit gradient of the SVD's rotation for training, and in closed
form on Horn's quaternion matrix for inference, where a CUDA graph captures it and ONNX holds it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from implicit_loc.arrays import (
    Array,
    Constant,
    at_least,
    lightest,
    namespace,
    to_torch,
    unwarned,
)
from implicit_loc.poses import rigid_transform, skew, unskew

# Smallest sum of two singular values, relative to the largest, that still fixes the rotation.
_DEGENERATE = 1e-6

# 2^32: of two eigenvalues that differ by 1e-8, the smaller one is gone. Of unit trace, the largest
# one is at least 1/4, and after eight squarings it is not below 1e-160.
_NORMALISATIONS = 4
_SQUARINGS_EACH = 8


def align(world_points: Tensor, camera_points: Tensor, weights: Tensor) -> Tensor:
    """The rigid transform that minimises sum_i w_i |g_i - (R c_i + t)|^2.

    Where gradients are wanted, the rotation comes from an SVD. Else it is `closed_form_rotation`,
    in float64, and nothing waits for the host.

    Args:
        world_points: g, (B, N, 3), metres.
        camera_points: c, (B, N, 3), metres.
        weights: non-negative, (B, N); their scale does not matter.

    Returns:
        world_from_camera, (B, 4, 4), in the higher precision of the two clouds. All weights zero
        give the identity with zero gradients.
    """
    given = torch.result_type(world_points, camera_points)
    inputs = [each.to(given) for each in (world_points, camera_points, weights)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _aligned(nearest_rotation, *inputs)
    with unwarned():
        precise = lightest(*(tensor.detach().double() for tensor in inputs))
        return to_torch(_aligned(closed_form_rotation, *precise)).to(given)


def _aligned(
    closest: Callable[[Array], Array], world_points: Array, camera_points: Array, weights: Array
) -> Array:
    """As `align`, with the rotation that is `closest` to the covariance."""
    xp = namespace(weights)
    tiny = float(xp.finfo(weights.dtype).tiny)
    shares = (weights / at_least(weights.sum(axis=-1), tiny)[..., None])[..., None, :]
    world_mean, camera_mean = shares @ world_points, shares @ camera_points
    world_centred, camera_centred = world_points - world_mean, camera_points - camera_mean
    rotation = closest((shares * xp.swapaxes(world_centred, -1, -2)) @ camera_centred)
    translation = world_mean - camera_mean @ xp.swapaxes(rotation, -1, -2)
    return rigid_transform(rotation, translation[..., 0, :])


def closed_form_rotation(matrix: Array) -> Array:
    """The rotation R in SO(3) that maximises tr(R^T M), (..., 3, 3) -> (..., 3, 3), without SVD.

    tr(R^T M) = q^T N q for the unit quaternion q of R and a symmetric 4x4 matrix N (Horn 1987):
    q belongs to the largest eigenvalue of N, and a reflection cannot come out. Squaring N + s I,
    s large enough for no eigenvalue to be negative, leaves the projection onto q. Rounding turns
    R by eps / gap, as in an SVD; the roots of the characteristic polynomial would lose half of
    the digits where two of them are near.

    Where the two largest eigenvalues are equal (points on a line, isotropic reflections), the
    rotation is one of those that are equally good. Zeros give the identity, and what is not
    finite a rotation that is not. No branch depends on the numbers.

    Args:
        matrix: M, float64: an array of NumPy, or a tensor on any device.
    """
    xp = namespace(matrix)
    batch = matrix.shape[:-2]
    rows = matrix.reshape(*batch, 9)
    size = at_least(abs(rows).sum(axis=-1), float(xp.finfo(matrix.dtype).tiny))
    products = _PRODUCTS.like(matrix)
    horn = (rows / size[..., None]) @ xp.swapaxes(products, 0, 1)
    power = horn.reshape(*batch, 4, 4) + _SHIFT.like(matrix)
    for _ in range(_NORMALISATIONS):
        power = power / _diagonal(power).sum(axis=-1)[..., None, None]
        for _ in range(_SQUARINGS_EACH):
            power = power @ power
    # All columns are multiples of q; the longest one has lost the fewest digits (Shepperd 1978).
    longest = _diagonal(power).argmax(axis=-1)[..., None] == _COLUMNS.like(matrix)
    quaternion = xp.where(longest[..., None, :], power, 0).sum(axis=-1)
    outer = quaternion[..., :, None] * quaternion[..., None, :]
    unit = outer / _diagonal(outer).sum(axis=-1)[..., None, None]
    return (unit.reshape(*batch, 16) @ products).reshape(*batch, 3, 3)


def _diagonal(matrix: Array) -> Array:
    """(..., 4, 4) -> (..., 4)."""
    return matrix.reshape(*matrix.shape[:-2], 16)[..., ::5]


def _products() -> NDArray[np.float64]:
    """E (16, 9) of R = sum_ij q_i q_j E_ij = (w^2 - |v|^2) I + 2 v v^T + 2 w [v]x, q = (w, v)."""
    found, unit = np.zeros((4, 4, 3, 3)), np.eye(3)
    found[0, 0] = unit
    for i in range(3):
        found[0, i + 1] = found[i + 1, 0] = np.cross(unit, unit[i])
        found[i + 1, i + 1] -= unit
        for j in range(3):
            found[i + 1, j + 1] += np.outer(unit[i], unit[j]) + np.outer(unit[j], unit[i])
    return found.reshape(16, 9)


_PRODUCTS = Constant(_products())
# The eigenvalues of N are the singular values of M, added with signs: at most the sum of |M_ij|.
_SHIFT = Constant(np.eye(4))
_COLUMNS = Constant(np.arange(4, dtype=np.float64))


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation R in SO(3) that maximises tr(R^T M), (..., 3, 3) -> (..., 3, 3)."""
    rotation: Tensor = _NearestRotation.apply(matrix)
    return rotation


class _NearestRotation(torch.autograd.Function):
    """Special orthogonal Procrustes with an implicit gradient.

    M = R P with P symmetric at the optimum. Differentiating and keeping the skew part gives
    (tr(P) I - P) omega = unskew(R^T dM) for dR = R [omega]x. The 3x3 matrix is singular only
    where the rotation itself is not determined, whereas the gradient of the SVD also blows up
    wherever two singular values meet.

    A matrix that is not finite gives a rotation and a gradient that are not, instead of LAPACK's
    error, which would end a training.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        finite = torch.isfinite(matrix).all(dim=-1).all(dim=-1)[..., None, None]
        matrix = torch.where(finite, matrix, 0)
        left, _, right = torch.linalg.svd(matrix)
        # SVD may return a reflection: flip the weakest axis to stay in SO(3) (Kabsch 1976).
        sign = torch.det(left @ right).sign()
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
        rotation = (left * flip[..., None, :]) @ right
        ctx.save_for_backward(matrix, rotation, finite)
        return torch.where(finite, rotation, torch.nan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        matrix, rotation, finite = ctx.saved_tensors
        symmetric = rotation.mT @ matrix
        symmetric = (symmetric + symmetric.mT) / 2
        trace = symmetric.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
        values, vectors = torch.linalg.eigh(trace * identity - symmetric)
        # A direction about which the rotation is free has no gradient, not an infinite one.
        floor = _DEGENERATE * values[..., -1:].clamp_min(torch.finfo(matrix.dtype).tiny)
        inverse = torch.where(values > floor, 1 / torch.maximum(values, floor), 0)
        right_hand = unskew(rotation.mT @ gradient)[..., None]
        omega = vectors @ (inverse[..., None] * (vectors.mT @ right_hand))
        return torch.where(finite, rotation @ skew(omega[..., 0]), torch.nan)
