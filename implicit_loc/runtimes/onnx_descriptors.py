"""Descriptors as ONNX Runtime computes them fastest."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from implicit_loc.landmark_map import LandmarkMap

# That of torch.nn.functional.normalize.
_LEAST_LENGTH = 1e-12


class ConvolvedDescriptors(LandmarkMap):
    """The same descriptors of the same landmarks, in another order of operations.

    Each stride is whitened at its own resolution: interpolating is linear. A 1x1 convolution
    does so in ONNX Runtime's blocked memory layout, in which the features already lie; and the
    strides are joined last, for what is normalised in parts would have to be taken apart again.

    Args:
        landmarks: of a finished map.
    """

    def __init__(self, landmarks: LandmarkMap) -> None:
        super().__init__(len(landmarks.positions), landmarks.channels)
        self.load_state_dict(landmarks.state_dict())
        parts = zip(
            self.channels,
            self.mean.split(self.channels),
            self.deviation.split(self.channels),
            strict=True,
        )
        self._whitening = nn.ModuleList(_whitening(*part) for part in parts)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """See LandmarkMap."""
        size = features[0].shape[-2:]
        parts = []
        for level, whiten in zip(features, self._whitening, strict=True):
            whitened = whiten(level.float())
            if whitened.shape[-2:] != size:
                whitened = functional.interpolate(
                    whitened, size=size, mode='bilinear', align_corners=False
                )
            parts.append(_normalised(whitened.permute(0, 2, 3, 1)))
        return torch.cat(parts, dim=-1)


def _whitening(channels: int, mean: Tensor, deviation: Tensor) -> nn.Conv2d:
    """(x - mean) / deviation of every channel."""
    convolution = nn.Conv2d(channels, channels, 1, groups=channels)
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.weight.copy_((1 / deviation).view(-1, 1, 1, 1))
        convolution.bias.copy_(-mean / deviation)
    return convolution


def _normalised(values: Tensor) -> Tensor:
    """(..., C) of unit length; the sum of squares as a product, which ONNX Runtime vectorizes."""
    ones = torch.ones(values.shape[-1], 1)
    return values * (values.square() @ ones).clamp_min(_LEAST_LENGTH**2).rsqrt()
