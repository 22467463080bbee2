"""Image -> scene geometry: per cell the world point, the camera point and a weight.

The method of Altillawi et al. 2023 with one change: the depth may be predicted for a canonical
focal length and scaled by the camera's own. An image alone cannot tell a near object under a
short focal length from a far one under a long one.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from implicit_loc.backbones import BACKBONES
from implicit_loc.errors import CheckpointError
from implicit_loc.landmark_map import DESCRIPTOR_STRIDES, LandmarkMap
from implicit_loc.layers import Head, pointwise, separable
from implicit_loc.outputs import CAMERA_OUTPUTS, DEPTH_SCALES, WORLD_OUTPUTS

Array = TypeVar('Array', Tensor, NDArray[np.float32], NDArray[np.float64])
OtherArray = TypeVar('OtherArray', Tensor, NDArray[np.float32], NDArray[np.float64])

STRIDES = (4, 8, 16)
COARSEST_STRIDES = (16, 32)


@dataclass(frozen=True)
class NetworkLayout:
    """What a person chooses about a network.

    Attributes:
        backbone: a key of implicit_loc.backbones.BACKBONES.
        stride: input pixels per output cell, 4, 8 or 16.
        coarsest_stride: of the backbone's features that are used, 16 or 32. 16 sees less of the
            image at once and has fewer weights.
        decoder_channels: width of the decoder.
        near: least depth, metres.
        far: largest depth, metres.
        depth_scale: a key of implicit_loc.outputs.DEPTH_SCALES: how the range is spanned.
        canonical_depth: predict the depth for a canonical focal length and scale it by the
            camera's; near and far then hold at the canonical one.
        camera_output: 'depth' along the ray of each cell, or 'points': x and y beside it.
        world_output: a key of implicit_loc.outputs.WORLD_OUTPUTS.
    """

    backbone: str = 'mobilenet_v3_large'
    stride: int = 8
    coarsest_stride: int = 32
    decoder_channels: int = 128
    near: float = 0.1
    far: float = 10.0
    depth_scale: str = 'linear'
    canonical_depth: bool = True
    camera_output: str = 'depth'
    world_output: str = 'metric'

    def __post_init__(self) -> None:
        _require_known('backbone', self.backbone, BACKBONES)
        _require_known('stride', self.stride, STRIDES)
        _require_known('coarsest stride', self.coarsest_stride, COARSEST_STRIDES)
        _require_known('depth scale', self.depth_scale, DEPTH_SCALES)
        _require_known('camera output', self.camera_output, CAMERA_OUTPUTS)
        _require_known('world output', self.world_output, WORLD_OUTPUTS)
        if not isinstance(self.canonical_depth, bool):
            raise CheckpointError(
                f'canonical_depth is {self.canonical_depth!r}: it must be true or false'
            )
        _require_positive('decoder channels', self.decoder_channels)
        if not 0 < self.near < self.far < math.inf:
            raise CheckpointError(
                f'the depth range is [{self.near}, {self.far}] m: it must satisfy 0 < near < far'
            )


@dataclass(frozen=True)
class NetworkConfig(NetworkLayout):
    """Everything that fixes the network's layout and the meaning of its outputs.

    A default means what checkpoints from before the entry existed mean.

    Attributes:
        canonical_focal_length: pixels, at the size of the network's input.
        scene_centre: world point about which world points are predicted, metres.
        scene_scale: metres per unit of the network's outputs.
        landmarks: how many the map holds; 0 = none.
    """

    canonical_focal_length: float = 525.0
    scene_centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scene_scale: float = 1.0
    landmarks: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive('canonical focal length', self.canonical_focal_length)
        _require_positive('scene scale', self.scene_scale)
        # A bool is an int, too.
        if type(self.landmarks) is not int or self.landmarks < 0:
            raise CheckpointError(
                f'the number of landmarks is {self.landmarks!r}: it must be 0 or a natural number'
            )


def _require_known(what: str, found: object, known: Collection[object]) -> None:
    if found not in known:
        choices = ', '.join(map(str, known))
        raise CheckpointError(f'the {what} {found!r} is not known; known are {choices}')


def _require_positive(what: str, found: float) -> None:
    if not (math.isfinite(found) and found > 0):
        raise CheckpointError(f'the {what} must be positive, not {found}')


@dataclass(frozen=True)
class SceneGeometry(Generic[Array]):
    """What the network sees in each output cell.

    Attributes:
        world_points: (..., h, w, 3), metres in the world frame.
        depth: (..., h, w), metres along the optical axis.
        weights: (..., h, w), in [0, 1].
        own_camera_points: (..., h, w, 3), metres in the camera frame, of networks that predict
            them; None where they follow from the depth.
        descriptors: of the image at the stride of LandmarkMap, (..., h', w', C); None of maps
            without landmarks.
    """

    world_points: Array
    depth: Array
    weights: Array
    own_camera_points: Array | None = None
    descriptors: Array | None = None

    def camera_points(self, rays: Array) -> Array:
        """Points in the camera frame, metres, of the cells' unit-depth rays; (..., h, w, 3)."""
        if self.own_camera_points is not None:
            return self.own_camera_points
        return self.depth[..., None] * rays

    def map(self, change: Callable[[Array], OtherArray]) -> 'SceneGeometry[OtherArray]':
        """The geometry with every array changed."""
        own, descriptors = self.own_camera_points, self.descriptors
        return SceneGeometry(
            change(self.world_points),
            change(self.depth),
            change(self.weights),
            None if own is None else change(own),
            None if descriptors is None else change(descriptors),
        )


class SceneNetwork(nn.Module):
    """A backbone, a top-down decoder down to the output's stride, and three heads.

    Attributes:
        landmarks: of the place; None where the map has none, and during the training.
    """

    scene_centre: Tensor
    landmarks: LandmarkMap | None

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = BACKBONES[config.backbone]()
        finest = min(config.stride, *DESCRIPTOR_STRIDES)
        self.backbone.keep(finest, config.coarsest_stride)
        self._decoded = self.backbone.strides.index(config.stride)
        width = config.decoder_channels
        channels = self.backbone.channels[self._decoded :]
        self.laterals = nn.ModuleList(pointwise(inputs, width) for inputs in channels)
        self.fusions = nn.ModuleList(separable(width, width) for _ in channels[1:])
        self.world_head = Head(width, WORLD_OUTPUTS[config.world_output].channels)
        self.depth_head = Head(width, CAMERA_OUTPUTS[config.camera_output])
        self.weight_head = Head(width, 1)
        centre = torch.tensor(config.scene_centre, dtype=torch.float32)
        self.register_buffer('scene_centre', centre, persistent=False)
        self._start_at_plausible_depth()
        self.landmarks = self.empty_landmarks(config.landmarks) if config.landmarks else None

    def empty_landmarks(self, count: int) -> LandmarkMap:
        """Room for so many landmarks with descriptors of this network's features."""
        return LandmarkMap(count, self._descriptor_channels())

    def _descriptor_channels(self) -> list[int]:
        found = zip(self.backbone.strides, self.backbone.channels, strict=True)
        return [channels for stride, channels in found if stride in DESCRIPTOR_STRIDES]

    def descriptor_features(self, image: Tensor) -> list[Tensor]:
        """The backbone's features at DESCRIPTOR_STRIDES, of a normalised image (B, 3, H, W)."""
        return self._descriptor_part(self.backbone(image))

    def _descriptor_part(self, features: list[Tensor]) -> list[Tensor]:
        return features[: len(DESCRIPTOR_STRIDES)]

    def _start_at_plausible_depth(self) -> None:
        # The middle of a sigmoid over [0.1, 10] m is 5 m, beyond the walls of most rooms, and
        # over [0.1, 600] m it is hopeless; a fifth of the linear range indoors, 10 m outdoors.
        near, far = self.config.near, self.config.far
        start = min(max(0.2 * far, 2 * near), 10.0)
        if not near < start < far:
            start = math.sqrt(near * far)
        share = DEPTH_SCALES[self.config.depth_scale].share(start, near, far)
        bias = self.depth_head[-1].bias
        assert isinstance(bias, Tensor)
        nn.init.constant_(bias[-1:], math.log(share / (1 - share)))

    def forward(self, image: Tensor, focal_length: Tensor) -> SceneGeometry[Tensor]:
        """Predict the geometry.

        Args:
            image: normalised, (B, 3, H, W).
            focal_length: of the camera at this size, pixels, (B,).

        Returns:
            Geometry of (B, ceil(H / stride), ceil(W / stride)) cells, float32.
        """
        config = self.config
        features = self.backbone(image)
        fused = self._fuse(features[self._decoded :])
        world = WORLD_OUTPUTS[config.world_output].points(self.world_head(fused))
        camera = self.depth_head(fused)
        weights = self.weight_head(fused)[:, 0].sigmoid()
        depth = DEPTH_SCALES[config.depth_scale].depth(
            camera[:, -1].sigmoid(), config.near, config.far
        )
        if config.canonical_depth:
            depth = depth * (focal_length.float() / config.canonical_focal_length)[:, None, None]
        own_camera_points = None
        if config.camera_output == 'points':
            # x and y do not depend on the focal length: it is the depth that an image hides.
            lateral = config.scene_scale * camera[:, :2].permute(0, 2, 3, 1)
            own_camera_points = torch.cat([lateral, depth[..., None]], dim=-1)
        return SceneGeometry(
            world_points=self.scene_centre + config.scene_scale * world.permute(0, 2, 3, 1),
            depth=depth,
            weights=weights,
            own_camera_points=own_camera_points,
            descriptors=self.landmarks(self._descriptor_part(features))
            if self.landmarks is not None
            else None,
        )

    def _fuse(self, features: list[Tensor]) -> Tensor:
        """The decoder: from the coarsest features down to those of the output's stride."""
        fused: Tensor = self.laterals[-1](features[-1])
        for level in range(len(features) - 2, -1, -1):
            lateral = self.laterals[level](features[level])
            # Any input size: odd sizes make the coarse level more than half of the fine one.
            upsampled = functional.interpolate(
                fused, size=lateral.shape[-2:], mode='bilinear', align_corners=False
            )
            fused = self.fusions[level](lateral + upsampled)
        return fused
