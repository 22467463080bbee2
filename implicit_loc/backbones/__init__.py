"""Feature pyramids by name. A new backbone is one builder and one line in the table."""

from collections.abc import Callable

from implicit_loc.backbones.efficientnet_lite import efficientnet_lite0
from implicit_loc.backbones.hrnet import hrnetv2
from implicit_loc.backbones.pyramid import Backbone
from implicit_loc.backbones.torchvision_networks import densenet121, mobilenet_v3_large, resnet34

BACKBONES: dict[str, Callable[[], Backbone]] = {
    'mobilenet_v3_large': mobilenet_v3_large,
    'efficientnet_lite0': efficientnet_lite0,
    'resnet34': resnet34,
    'densenet121': densenet121,
    'hrnetv2': hrnetv2,
}

__all__ = ['BACKBONES', 'Backbone']
