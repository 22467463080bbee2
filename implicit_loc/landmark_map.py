"""Landmarks: world points of known place, and what the network's own features look like there.

The network says roughly where each cell's piece of the world lies. A landmark is a point that the
mapping frames have triangulated, and that can be found again in an image to a fraction of a pixel
by its descriptor: the features that the backbone has computed anyway.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of the features that make the descriptors: fine enough to place a point.
DESCRIPTOR_STRIDES = (4, 8)


class LandmarkMap(nn.Module):
    """The landmarks of a place, those first that were seen most often.

    Args:
        count: of landmarks.
        channels: of the backbone's features at DESCRIPTOR_STRIDES.

    Attributes:
        positions: relative to the scene's centre, (L, 3), metres.
        descriptors: normalised, (L, C), float16.
        directions: from the landmark to where it was seen from, on average, (L, 3), unit.
        distances: from which it was seen, on average, (L,), metres.
        mean: of the features over the mapping frames, (C,).
        deviation: their standard deviation, (C,).
    """

    positions: Tensor
    descriptors: Tensor
    directions: Tensor
    distances: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, count: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        width = sum(self.channels)
        self.register_buffer('positions', torch.zeros(count, 3))
        self.register_buffer('descriptors', torch.zeros(count, width, dtype=torch.float16))
        self.register_buffer('directions', torch.zeros(count, 3))
        self.register_buffer('distances', torch.ones(count))
        self.register_buffer('mean', torch.zeros(width))
        self.register_buffer('deviation', torch.ones(width))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Descriptors of every place in an image.

        Args:
            features: of the backbone at DESCRIPTOR_STRIDES, each (B, channels, h, w).

        Returns:
            (B, h, w, C) at the finer stride, float32: the part of every stride has unit length,
            so that a product of two descriptors is the sum of their cosines.
        """
        return self.normalised(joined_features(features))

    def normalised(self, features: Tensor) -> Tensor:
        """Raw descriptors (..., C) -> normalised ones (..., C), float32."""
        whitened = (features.float() - self.mean) / self.deviation
        parts = whitened.split(self.channels, dim=-1)
        return torch.cat([functional.normalize(part, dim=-1) for part in parts], dim=-1)


def joined_features(features: Sequence[Tensor]) -> Tensor:
    """Features of several strides at the finest of them, (B, h, w, C)."""
    size = features[0].shape[-2:]
    resized = [
        functional.interpolate(level.float(), size=size, mode='bilinear', align_corners=False)
        for level in features[1:]
    ]
    return torch.cat([features[0].float(), *resized], dim=1).permute(0, 2, 3, 1)
