"""The losses of Altillawi et al. 2023 (eq. 5-8), with the reprojection error as the main one.

Per cell: g its world point, c its camera point, ray its unit-depth ray, valid whether it looks at
pixels of the image. Poses are world_from_camera.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from implicit_loc.poses import angle_between, invert, transform_points
from implicit_loc_trainer.recipes.sections import LossConfig

# A cell nearer than this to the camera plane, or farther off than that, has no useful gradient.
_LEAST_DEPTH_M = 0.1
_LARGEST_ERROR_PX = 1000.0


class Losses(NamedTuple):
    """Scalars: the weighted sum and its terms in their own units."""

    total: Tensor
    pose: Tensor
    consistency: Tensor
    reprojection: Tensor


def combine(config: LossConfig, pose: Tensor, consistency: Tensor, reprojection: Tensor) -> Losses:
    """The weighted sum of the three terms."""
    total = (
        config.pose * pose + config.consistency * consistency + config.reprojection * reprojection
    )
    return Losses(total, pose, consistency, reprojection)


def pose_loss(estimated: Tensor, true: Tensor) -> Tensor:
    """Mean of |t - t*| + angle(R, R*), metres and radians; (B, 4, 4) each."""
    translation = (estimated[:, :3, 3] - true[:, :3, 3]).norm(dim=-1)
    return (translation + angle_between(estimated[:, :3, :3], true[:, :3, :3])).mean()


def consistency_loss(
    world_points: Tensor, camera_points: Tensor, world_from_camera: Tensor, valid: Tensor
) -> Tensor:
    """Mean |g - (R* c + t*)| over valid cells, metres.

    Args:
        world_points: (B, N, 3).
        camera_points: (B, N, 3).
        world_from_camera: true pose, (B, 4, 4).
        valid: (B, N).
    """
    expected = transform_points(world_from_camera, camera_points)
    return _masked_mean((world_points - expected).norm(dim=-1), valid)


def reprojection_loss(
    world_points: Tensor,
    rays: Tensor,
    focal_length: Tensor,
    world_from_camera: Tensor,
    valid: Tensor,
    tau_px: float,
    fallback_depth: float,
) -> Tensor:
    """Mean of tau tanh(e / tau) over valid cells, e = f |project(T*^-1 g) - ray|, pixels.

    A point behind the camera, or so far off that its error says nothing, is pulled to the point
    at a fixed depth on its ray instead (Brachmann and Rother 2021). That distance in metres is
    given the slope of a pixel at that depth, so that the two kinds of cells weigh alike.

    Args:
        world_points: (B, N, 3), metres.
        rays: (B, N, 3), unit depth.
        focal_length: (B,), pixels.
        world_from_camera: true pose, (B, 4, 4).
        valid: (B, N).
        tau_px: soft clamp.
        fallback_depth: metres.
    """
    seen = transform_points(invert(world_from_camera), world_points)
    depth = seen[..., 2]
    focal = focal_length[:, None]
    offset = seen[..., :2] / depth.clamp_min(_LEAST_DEPTH_M)[..., None] - rays[..., :2]
    error = focal * _norm(offset)
    sensible = (depth > _LEAST_DEPTH_M) & (error < _LARGEST_ERROR_PX)
    soft = tau_px * torch.tanh(error / tau_px)
    distance = _norm(seen - fallback_depth * rays)
    pull = focal / fallback_depth * distance
    return _masked_mean(torch.where(sensible, soft, pull), valid)


def curriculum_tau(config: LossConfig, progress: float) -> float:
    """The soft clamp in pixels at a share of the training, circular (Brachmann et al. 2023)."""
    schedule = 1 - math.sqrt(1 - min(max(progress, 0.0), 1.0) ** 2)
    return (config.tau_start_px - config.tau_end_px) * (1 - schedule) + config.tau_end_px


def _norm(vectors: Tensor) -> Tensor:
    # The gradient of a norm is undefined at zero; this one is zero there.
    return (vectors.square().sum(dim=-1) + 1e-12).sqrt()


def _masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, 0).sum() / valid.sum().clamp_min(1)
