"""The losses of Altillawi et al. 2023 (eq. 5-8), with the reprojection error as the main one.

Per cell: g its world point, c its camera point, ray its unit-depth ray, valid whether it looks at
pixels of the image. Poses are world_from_camera.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from implicit_loc.poses import angle_between, invert, transform_points
from implicit_loc_trainer.recipes.sections import LossConfig
from implicit_loc_trainer.training.distributed.processes import global_mean

# A cell nearer than this to the camera plane, or farther off than that, has no useful gradient.
_LEAST_DEPTH_M = 0.1
_LARGEST_ERROR_PX = 1000.0

_LEAST_WEIGHT = 1e-8


class Losses(NamedTuple):
    """Scalars: the weighted sum and its terms in their own units; 0 where a term is off."""

    total: Tensor
    pose: Tensor
    refined_pose: Tensor
    consistency: Tensor
    reprojection: Tensor
    likelihood: Tensor
    landmarks: Tensor
    landmark_depth: Tensor


def combine(config: LossConfig, terms: Mapping[str, Tensor]) -> Losses:
    """The weighted sum of the terms that are there, by their names in LossConfig."""
    zero = torch.zeros_like(next(iter(terms.values())))
    total = sum((getattr(config, name) * value for name, value in terms.items()), zero)
    off = dict.fromkeys((name for name in Losses._fields if name not in terms), zero)
    return Losses(**{**off, **terms, 'total': total})


def pose_loss(estimated: Tensor, true: Tensor, has_orientation: Tensor | None = None) -> Tensor:
    """Mean of |t - t*| + angle(R, R*), metres and radians; of |t - t*| without orientation.

    Args:
        estimated: world_from_camera, (B, 4, 4).
        true: world_from_camera, (B, 4, 4).
        has_orientation: (B,); None = all have.
    """
    translation = (estimated[:, :3, 3] - true[:, :3, 3]).norm(dim=-1)
    angle = angle_between(estimated[:, :3, :3], true[:, :3, :3])
    if has_orientation is not None:
        angle = torch.where(has_orientation, angle, 0)
    return (translation + angle).mean()


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
    return global_mean((world_points - expected).norm(dim=-1), valid)


def likelihood_loss(
    world_points: Tensor,
    camera_points: Tensor,
    weights: Tensor,
    world_from_camera: Tensor,
    valid: Tensor,
    scale_m: float,
) -> Tensor:
    """Mean negative log-likelihood of r = |g - (R* c + t*)| over valid cells.

    The density is Laplace's in space, exp(-r / b) / (8 pi b^3), of scale b = scale_m / sqrt(w):
    the weight is an inverse variance, as which the alignment takes it. Up to a constant this is
    sqrt(w) r / scale_m - 1.5 log w, least at sqrt(w) = 3 scale_m / r.

    Args:
        world_points: (B, N, 3).
        camera_points: (B, N, 3).
        weights: in [0, 1], (B, N).
        world_from_camera: true pose, (B, 4, 4).
        valid: (B, N).
        scale_m: of cells of weight 1.
    """
    expected = transform_points(world_from_camera, camera_points)
    residual = _norm(world_points - expected)
    # Half precision, masks and saturated sigmoids give zeros, whose root has no gradient.
    safe = weights + _LEAST_WEIGHT
    return global_mean(safe.sqrt() * residual / scale_m - 1.5 * safe.log(), valid)


def reprojection_loss(
    world_points: Tensor,
    rays: Tensor,
    focal_length: Tensor,
    world_from_camera: Tensor,
    valid: Tensor,
    tau_px: float | None,
    fallback_depth: float,
) -> Tensor:
    """Mean of tau tanh(e / tau) over valid cells, e = f |project(T*^-1 g) - ray|, pixels.

    Without tau it is the mean of e (eq. 7, with the inverse pose that it needs).

    A point behind the camera, or so far off that its error says nothing, is pulled to the point
    at a fixed depth on its ray instead (Brachmann and Rother 2021). That distance in metres is
    given the slope of a pixel at that depth, so that the two kinds of cells weigh alike.

    Args:
        world_points: (B, N, 3), metres.
        rays: (B, N, 3), unit depth.
        focal_length: (B,), pixels.
        world_from_camera: true pose, (B, 4, 4).
        valid: (B, N).
        tau_px: soft clamp; None = none.
        fallback_depth: metres.
    """
    seen = transform_points(invert(world_from_camera), world_points)
    depth = seen[..., 2]
    focal = focal_length[:, None]
    offset = seen[..., :2] / depth.clamp_min(_LEAST_DEPTH_M)[..., None] - rays[..., :2]
    error = focal * _norm(offset)
    sensible = (depth > _LEAST_DEPTH_M) & (error < _LARGEST_ERROR_PX)
    cost = error if tau_px is None else tau_px * torch.tanh(error / tau_px)
    distance = _norm(seen - fallback_depth * rays)
    pull = focal / fallback_depth * distance
    return global_mean(torch.where(sensible, cost, pull), valid)


def curriculum_tau(config: LossConfig, progress: float) -> float | None:
    """The soft clamp in pixels at a share of the training, circular (Brachmann et al. 2023)."""
    if config.curve == 'none':
        return None
    schedule = 1 - math.sqrt(1 - min(max(progress, 0.0), 1.0) ** 2)
    return (config.tau_start_px - config.tau_end_px) * (1 - schedule) + config.tau_end_px


def _norm(vectors: Tensor) -> Tensor:
    # The gradient of a norm is undefined at zero; this one is zero there.
    return (vectors.square().sum(dim=-1) + 1e-12).sqrt()
