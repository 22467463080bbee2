"""The building blocks of decoder and heads."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution, normalised, with hard swish."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()
    )


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """A 5x5 convolution within the channels, then one across them (Howard et al. 2017)."""
    depthwise = nn.Conv2d(inputs, inputs, 5, padding=2, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), *pointwise(inputs, outputs))


class Head(nn.Sequential):
    """Features (B, inputs, h, w) -> (B, outputs, h, w), float32.

    The output layer always runs in float32: half precision would round metres to cm.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            *separable(inputs, inputs), *pointwise(inputs, inputs), nn.Conv2d(inputs, outputs, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        layers: Iterable[nn.Module] = self
        *hidden, last = layers
        for layer in hidden:
            features = layer(features)
        with torch.autocast(features.device.type, enabled=False):
            output: Tensor = last(features.float())
        return output
