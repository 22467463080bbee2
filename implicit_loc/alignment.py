"""Weighted rigid alignment of two point clouds (Kabsch 1976, Altillawi et al. 2023, eq. 2-4).

Differentiable and batched, for training and for inference.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from implicit_loc.poses import rigid_transform, skew, unskew

# Smallest sum of two singular values, relative to the largest, that still fixes the rotation.
_DEGENERATE = 1e-6


def align(world_points: Tensor, camera_points: Tensor, weights: Tensor) -> Tensor:
    """The rigid transform that minimises sum_i w_i |g_i - (R c_i + t)|^2.

    Args:
        world_points: g, (B, N, 3), metres.
        camera_points: c, (B, N, 3), metres.
        weights: non-negative, (B, N); their scale does not matter.

    Returns:
        world_from_camera, (B, 4, 4). All weights zero give the identity with zero gradients.
    """
    total = weights.sum(dim=-1, keepdim=True)
    shares = (weights / total.clamp_min(torch.finfo(weights.dtype).tiny))[..., None]
    world_mean = (shares * world_points).sum(dim=-2)
    camera_mean = (shares * camera_points).sum(dim=-2)
    world_centred = world_points - world_mean[..., None, :]
    camera_centred = camera_points - camera_mean[..., None, :]
    rotation = nearest_rotation((shares * world_centred).mT @ camera_centred)
    translation = world_mean - (rotation @ camera_mean[..., None])[..., 0]
    return rigid_transform(rotation, translation)


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
