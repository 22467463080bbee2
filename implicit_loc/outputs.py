"""What the numbers of the heads mean: the choices of a layout, by name."""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

# Bounds of the homogeneous coordinate (Brachmann et al. 2023): a point is at most four times as
# far off as x y z say, and at least a hundredth of that.
_LARGEST_SCALE = 4.0
_LEAST_SCALE = 0.01


class WorldOutput(NamedTuple):
    """How world points are predicted.

    Attributes:
        channels: of the head.
        points: (B, channels, h, w) -> (B, 3, h, w), about the scene's centre, in scene scales.
    """

    channels: int
    points: Callable[[Tensor], Tensor]


class DepthScale(NamedTuple):
    """How a share in [0, 1] spans the range of depths.

    Attributes:
        depth: (share, near, far) -> metres.
        share: (depth, near, far) -> the share that gives it.
    """

    depth: Callable[[Tensor, float, float], Tensor]
    share: Callable[[float, float, float], float]


def homogeneous_points(raw: Tensor) -> Tensor:
    """(x, y, z) / h, so that far points stay as stable as near ones (Brachmann et al. 2023).

    h = min(softplus(raw) + 1 / 4, 100), with a softplus that makes h = 1 of raw = 0.
    """
    beta = math.log(2) / (1 - 1 / _LARGEST_SCALE)
    divisor = functional.softplus(raw[:, 3:], beta=beta) + 1 / _LARGEST_SCALE
    return raw[:, :3] / divisor.clamp_max(1 / _LEAST_SCALE)


def linear_depth(share: Tensor, near: float, far: float) -> Tensor:
    """Near + (far - near) share: equal steps of metres (Altillawi et al. 2023)."""
    return near + (far - near) * share


def logarithmic_depth(share: Tensor, near: float, far: float) -> Tensor:
    """Near (far / near)^share: equal steps of per cent, for large ranges."""
    return near * (math.log(far / near) * share).exp()


def _linear_share(depth: float, near: float, far: float) -> float:
    return (depth - near) / (far - near)


def _logarithmic_share(depth: float, near: float, far: float) -> float:
    return math.log(depth / near) / math.log(far / near)


WORLD_OUTPUTS = {
    'metric': WorldOutput(3, lambda raw: raw),
    'homogeneous': WorldOutput(4, homogeneous_points),
}

DEPTH_SCALES = {
    'linear': DepthScale(linear_depth, _linear_share),
    'logarithmic': DepthScale(logarithmic_depth, _logarithmic_share),
}

# Channels of the head: the depth alone, or x, y and the depth.
CAMERA_OUTPUTS = {'depth': 1, 'points': 3}
