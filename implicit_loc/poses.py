"""Rotations and rigid transforms: batched, differentiable, in whatever precision is given.

A rigid transform is a (..., 4, 4) matrix named by adjacency: world_from_camera. A quaternion is
(..., 4) in the order x, y, z, w.
"""

import numpy as np
import torch
from torch import Tensor

from implicit_loc.arrays import Array, Constant, namespace, spread

_LOWEST_ROW = Constant(np.array([[0.0, 0.0, 0.0, 1.0]]))


def rigid_transform(rotation: Array, translation: Array) -> Array:
    """(..., 4, 4) from a rotation (..., 3, 3) and a translation (..., 3), both of one library."""
    xp = namespace(rotation)
    upper = xp.concatenate([rotation, translation[..., None]], axis=-1)
    lowest = spread(_LOWEST_ROW.like(upper), upper[..., :1, :].shape)
    return xp.concatenate([upper, lowest], axis=-2)


def compose(a_from_b: Tensor, b_from_c: Tensor) -> Tensor:
    """a_from_c, (..., 4, 4)."""
    return a_from_b @ b_from_c


def invert(a_from_b: Tensor) -> Tensor:
    """b_from_a, (..., 4, 4), by transposing the rotation."""
    rotation = a_from_b[..., :3, :3].mT
    translation = -(rotation @ a_from_b[..., :3, 3:])[..., 0]
    inverse: Tensor = rigid_transform(rotation, translation)
    return inverse


def transform_points(a_from_b: Tensor, b_points: Tensor) -> Tensor:
    """Points in frame a.

    Args:
        a_from_b: (..., 4, 4).
        b_points: (..., N, 3).

    Returns:
        (..., N, 3).
    """
    return b_points @ a_from_b[..., :3, :3].mT + a_from_b[..., None, :3, 3]


def skew(vector: Tensor) -> Tensor:
    """The matrix that forms the cross product with a vector, (..., 3) -> (..., 3, 3)."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.stack(rows, dim=-1).reshape(*vector.shape[:-1], 3, 3)


def unskew(matrix: Tensor) -> Tensor:
    """The vector of the skew matrix M - M^T, twice that of M, (..., 3, 3) -> (..., 3)."""
    difference = matrix - matrix.mT
    return torch.stack([difference[..., 2, 1], difference[..., 0, 2], difference[..., 1, 0]], -1)


def rotation_angle(rotation: Tensor) -> Tensor:
    """Angle of a rotation in radians, (..., 3, 3) -> (...), in [0, pi].

    atan2 of the skew part and the trace: arccos of the trace alone has an infinite gradient at
    the identity, and half of the digits are lost there.
    """
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    axis = unskew(rotation)
    # The norm's gradient is undefined at zero; the smallest normal number keeps it at zero.
    sine = (axis.square().sum(-1) + torch.finfo(rotation.dtype).tiny).sqrt()
    return torch.atan2(sine, trace - 1)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two rotations in radians, (..., 3, 3) each -> (...)."""
    return rotation_angle(a.mT @ b)


def exp_so3(vector: Tensor) -> Tensor:
    """Rotation matrix of a rotation vector in radians, (..., 3) -> (..., 3, 3)."""
    return torch.linalg.matrix_exp(skew(vector))


def log_so3(rotation: Tensor) -> Tensor:
    """Rotation vector in radians of a rotation matrix, (..., 3, 3) -> (..., 3)."""
    quaternion = matrix_to_quaternion(rotation)
    vector, real = quaternion[..., :3], quaternion[..., 3]
    sine = vector.norm(dim=-1)
    angle = 2 * torch.atan2(sine, real)
    small = sine < 1e-6
    scale = torch.where(small, 2 / real, angle / torch.where(small, torch.ones_like(sine), sine))
    return vector * scale[..., None]


def exp_se3(twist: Tensor) -> Tensor:
    """Rigid transform of a twist (translation, rotation), (..., 6) -> (..., 4, 4)."""
    generator = torch.zeros(*twist.shape[:-1], 4, 4, dtype=twist.dtype, device=twist.device)
    generator[..., :3, :3] = skew(twist[..., 3:])
    generator[..., :3, 3] = twist[..., :3]
    return torch.linalg.matrix_exp(generator)


def log_se3(transform: Tensor) -> Tensor:
    """Twist (translation, rotation) of a rigid transform, (..., 4, 4) -> (..., 6)."""
    rotation_vector = log_so3(transform[..., :3, :3])
    angle = rotation_vector.norm(dim=-1)[..., None, None]
    generator = skew(rotation_vector)
    small = angle < 1e-4
    safe = torch.where(small, torch.ones_like(angle), angle)
    # Barfoot 2017, eq. 7.81, and its limit 1/12 for small angles.
    factor = torch.where(
        small,
        torch.full_like(angle, 1 / 12),
        (1 - safe / 2 / torch.tan(safe / 2)) / safe**2,
    )
    identity = torch.eye(3, dtype=transform.dtype, device=transform.device)
    inverse_jacobian = identity - generator / 2 + factor * generator @ generator
    translation = (inverse_jacobian @ transform[..., :3, 3:])[..., 0]
    return torch.cat([translation, rotation_vector], dim=-1)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrix of a quaternion x, y, z, w of any length > 0, (..., 4) -> (..., 3, 3)."""
    x, y, z, w = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - z * w),
        2 * (x * z + y * w),
        2 * (x * y + z * w),
        1 - 2 * (x * x + z * z),
        2 * (y * z - x * w),
        2 * (x * z - y * w),
        2 * (y * z + x * w),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).reshape(*quaternion.shape[:-1], 3, 3)


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternion x, y, z, w with w >= 0, (..., 3, 3) -> (..., 4).

    Of the four ways to divide (Shepperd 1978), the one with the largest divisor is taken.
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    x_y, x_z, y_z = (
        m[..., 0, 1] + m[..., 1, 0],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 1, 2] + m[..., 2, 1],
    )
    w_x, w_y, w_z = unskew(m).unbind(-1)
    # Each row is 4 q q_i: the whole quaternion times one of its components.
    rows = torch.stack(
        [
            torch.stack([1 + xx - yy - zz, x_y, x_z, w_x], dim=-1),
            torch.stack([x_y, 1 - xx + yy - zz, y_z, w_y], dim=-1),
            torch.stack([x_z, y_z, 1 - xx - yy + zz, w_z], dim=-1),
            torch.stack([w_x, w_y, w_z, 1 + xx + yy + zz], dim=-1),
        ],
        dim=-2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    quaternion = torch.nn.functional.normalize(rows.gather(-2, index)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
