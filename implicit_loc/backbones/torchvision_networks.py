"""Backbones from torchvision, untrained, without their classifiers."""

from itertools import pairwise
from types import ModuleType

from torch import nn

from implicit_loc.backbones.pyramid import SequentialBackbone

_STRIDES = (4, 8, 16, 32)


def mobilenet_v3_large() -> SequentialBackbone:
    """MobileNetV3-Large (Howard et al. 2019)."""
    layers = list(_models().mobilenet_v3_large(weights=None).features)
    return _cut(layers, (0, 4, 7, 13, 17), (24, 40, 112, 960))


def resnet34() -> SequentialBackbone:
    """ResNet34 (He et al. 2016)."""
    layers = list(_models().resnet34(weights=None).children())[:-2]
    return _cut(layers, (0, 5, 6, 7, 8), (64, 128, 256, 512))


def densenet121() -> SequentialBackbone:
    """DenseNet121 (Huang et al. 2017)."""
    layers = list(_models().densenet121(weights=None).features)
    for layer in layers:
        for pool in layer.modules():
            if isinstance(pool, nn.AvgPool2d):
                # The transitions round odd sizes down, all other layers round them up.
                pool.ceil_mode = True
    return _cut(layers, (0, 5, 7, 9, 12), (256, 512, 1024, 1024))


def _models() -> ModuleType:
    # It takes longer to import than all else together, and most programs build no such network.
    from torchvision import models

    return models


def _cut(
    layers: list[nn.Module], cuts: tuple[int, ...], channels: tuple[int, ...]
) -> SequentialBackbone:
    stages = [nn.Sequential(*layers[start:end]) for start, end in pairwise(cuts)]
    return SequentialBackbone(stages, _STRIDES, channels)
