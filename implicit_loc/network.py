"""Image -> scene geometry: per cell the world point, the depth and a weight.

The method of Altillawi et al. 2023 with one change: the depth is predicted for a canonical focal
length and scaled by the camera's own. An image alone cannot tell a near object under a short
focal length from a far one under a long one.
"""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from implicit_loc.backbones import BACKBONES
from implicit_loc.errors import CheckpointError

Array = TypeVar('Array', Tensor, NDArray[np.float32])

STRIDES = (4, 8, 16)


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that fixes the network's layout and the meaning of its outputs.

    Attributes:
        backbone: a key of BACKBONES.
        stride: input pixels per output cell, 4, 8 or 16.
        decoder_channels: width of the decoder.
        near: least depth, metres, at the canonical focal length.
        far: largest depth, metres, at the canonical focal length.
        canonical_focal_length: pixels, at the size of the network's input.
        scene_centre: world point about which world points are predicted, metres.
        scene_scale: metres per unit of the network's world output.
    """

    backbone: str = 'mobilenet_v3_large'
    stride: int = 8
    decoder_channels: int = 128
    near: float = 0.1
    far: float = 10.0
    canonical_focal_length: float = 525.0
    scene_centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scene_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise CheckpointError(
                f'the backbone {self.backbone!r} is not known; known are {", ".join(BACKBONES)}'
            )
        if self.stride not in STRIDES:
            raise CheckpointError(f'the stride is {self.stride}; it must be one of {STRIDES}')
        if not 0 < self.near < self.far:
            raise CheckpointError(
                f'the depth range is [{self.near}, {self.far}] m: it must satisfy 0 < near < far'
            )
        positive = (self.canonical_focal_length, self.scene_scale, self.decoder_channels)
        if not all(math.isfinite(value) and value > 0 for value in positive):
            raise CheckpointError('the focal length, scene scale and channels must be positive')


@dataclass(frozen=True)
class SceneGeometry(Generic[Array]):
    """What the network sees in each output cell.

    Attributes:
        world_points: (..., h, w, 3), metres in the world frame.
        depth: (..., h, w), metres along the optical axis.
        weights: (..., h, w), in [0, 1].
    """

    world_points: Array
    depth: Array
    weights: Array


class SceneNetwork(nn.Module):
    """A backbone, a top-down decoder down to the output's stride, and three heads."""

    scene_centre: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = BACKBONES[config.backbone]()
        width = config.decoder_channels
        used = [
            (stride, channels)
            for stride, channels in zip(self.backbone.strides, self.backbone.channels, strict=True)
            if stride >= config.stride
        ]
        self.skipped_stages = len(self.backbone.strides) - len(used)
        self.laterals = nn.ModuleList(_pointwise(channels, width) for _, channels in used)
        self.fusions = nn.ModuleList(_separable(width, width) for _ in used[1:])
        self.world_head = _head(width, 3)
        self.depth_head = _head(width, 1)
        self.weight_head = _head(width, 1)
        centre = torch.tensor(config.scene_centre, dtype=torch.float32)
        self.register_buffer('scene_centre', centre, persistent=False)
        self._start_at_plausible_depth()

    def _start_at_plausible_depth(self) -> None:
        # The middle of a sigmoid over [0.1, 10] m is 5 m, beyond the walls of most rooms, and
        # over [0.1, 600] m it is hopeless; a fifth of the linear range indoors, 10 m outdoors.
        start = min(max(0.2 * self.config.far, 2 * self.config.near), 10.0)
        share = (start - self.config.near) / (self.config.far - self.config.near)
        bias = self.depth_head[-1].bias
        assert isinstance(bias, Tensor)
        nn.init.constant_(bias, math.log(share / (1 - share)))

    def forward(self, image: Tensor, focal_length: Tensor) -> SceneGeometry[Tensor]:
        """Predict the geometry.

        Args:
            image: normalised, (B, 3, H, W).
            focal_length: of the camera at this size, pixels, (B,).

        Returns:
            Geometry of (B, ceil(H / stride), ceil(W / stride)) cells, float32.
        """
        features = self.backbone(image)[self.skipped_stages :]
        fused = self.laterals[-1](features[-1])
        for level in range(len(features) - 2, -1, -1):
            lateral = self.laterals[level](features[level])
            # Any input size: odd sizes make the coarse level more than half of the fine one.
            upsampled = functional.interpolate(
                fused, size=lateral.shape[-2:], mode='bilinear', align_corners=False
            )
            fused = self.fusions[level](lateral + upsampled)
        world = _apply_head(self.world_head, fused).permute(0, 2, 3, 1)
        depth = _apply_head(self.depth_head, fused)[:, 0].sigmoid()
        weights = _apply_head(self.weight_head, fused)[:, 0].sigmoid()
        zoom = (focal_length.float() / self.config.canonical_focal_length)[:, None, None]
        return SceneGeometry(
            world_points=self.scene_centre + self.config.scene_scale * world,
            depth=(self.config.near + (self.config.far - self.config.near) * depth) * zoom,
            weights=weights,
        )


def camera_points(depth: Tensor, rays: Tensor) -> Tensor:
    """Points in the camera frame, (..., h, w) x (..., h, w, 3) -> (..., h, w, 3), metres."""
    return depth[..., None] * rays


def _apply_head(head: nn.Sequential, features: Tensor) -> Tensor:
    """A head whose output layer runs in float32: half precision would round metres to cm."""
    hidden = head[:-1](features)
    with torch.autocast(features.device.type, enabled=False):
        output: Tensor = head[-1](hidden.float())
    return output


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()
    )


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, 5, padding=2, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), *_pointwise(inputs, outputs))


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *_separable(inputs, inputs), *_pointwise(inputs, inputs), nn.Conv2d(inputs, outputs, 1)
    )
