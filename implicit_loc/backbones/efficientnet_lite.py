"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-excitation, with ReLU6.

Layer for layer the network of https://github.com/tensorflow/tpu (models/official/efficientnet/
lite), so that weights trained there fit: its padding and its scaling of the image included.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from implicit_loc.backbones.pyramid import SequentialBackbone
from implicit_loc.preprocessing import MEAN, STANDARD_DEVIATION

# Per group of blocks: repeats, kernel, stride of the first, expansion, output channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
# The groups after which an output is taken.
_OUTPUTS = {1: 4, 2: 8, 4: 16, 6: 32}


def efficientnet_lite0() -> SequentialBackbone:
    """EfficientNet-Lite0 (Tan and Le 2019), untrained, without its classifier."""
    layers: list[nn.Module] = [_TensorFlowScaling(), *_convolution(3, _STEM_CHANNELS, 3, 2)]
    stages, channels, inputs = [], [], _STEM_CHANNELS
    for group, (repeats, kernel, stride, expansion, outputs) in enumerate(_GROUPS):
        for repeat in range(repeats):
            layers.append(
                _InvertedResidual(inputs, outputs, kernel, 1 if repeat else stride, expansion)
            )
            inputs = outputs
        if group in _OUTPUTS:
            stages.append(nn.Sequential(*layers))
            channels.append(outputs)
            layers = []
    return SequentialBackbone(stages, tuple(_OUTPUTS.values()), channels)


class _TensorFlowScaling(nn.Module):
    """Undoes ImageNet's normalisation and applies (x - 127) / 128 to x in [0, 255]."""

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        deviation, mean = torch.tensor(STANDARD_DEVIATION), torch.tensor(MEAN)
        self.register_buffer('scale', (255 * deviation / 128)[:, None, None], persistent=False)
        self.register_buffer('shift', ((255 * mean - 127) / 128)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return torch.addcmul(self.shift, image, self.scale)


class _InvertedResidual(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        width = expansion * inputs
        self.expand = _convolution(inputs, width, 1) if expansion > 1 else nn.Sequential()
        self.depthwise = _convolution(width, width, kernel, stride, groups=width)
        self.project = _convolution(width, outputs, 1)[:-1]
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.project(self.depthwise(self.expand(features)))
        return result + features if self.residual else result


class _HalvingConvolution(nn.Conv2d):
    """Stride 2 with TensorFlow's padding: of even sizes, one pixel less at the left and top."""

    def forward(self, input: Tensor) -> Tensor:
        half = self.kernel_size[0] // 2
        height, width = input.shape[-2:]
        even = (1 - height % 2, 1 - width % 2)
        padded = functional.pad(input, (0, even[1], 0, even[0])) if any(even) else input
        padding = (half - even[0], half - even[1])
        return functional.conv2d(padded, self.weight, None, 2, padding, 1, self.groups)


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    kind = nn.Conv2d if stride == 1 else _HalvingConvolution
    layer = kind(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode='fan_out')
    return nn.Sequential(
        layer, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True)
    )
