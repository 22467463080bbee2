"""Every backbone of the table: sizes, gradients, cutting, and the way through a checkpoint."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from implicit_loc.backbones import BACKBONES, Backbone
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint, save_checkpoint
from implicit_loc.errors import CheckpointError
from implicit_loc.network import NetworkConfig, SceneNetwork

STRIDES = (4, 8, 16, 32)


def _needs(name: str) -> None:
    if name == 'hrnetv2':
        pytest.importorskip('timm', reason='timm, an optional dependency, is not installed')


def _build(name: str) -> Backbone:
    _needs(name)
    torch.manual_seed(0)
    return BACKBONES[name]()


def _network(name: str, stride: int) -> SceneNetwork:
    _needs(name)
    torch.manual_seed(0)
    return SceneNetwork(NetworkConfig(name, stride, decoder_channels=8))


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize('name', BACKBONES)
def test_features_have_the_sizes_and_channels_they_are_said_to_have(name: str) -> None:
    """Rounded up where a stride does not divide the size."""
    backbone = _build(name).eval()
    assert backbone.strides == STRIDES
    for height, width in ((64, 96), (49, 67)):
        with torch.inference_mode():
            features = backbone(torch.randn(1, 3, height, width))
        assert [feature.shape for feature in features] == [
            (1, channels, -(-height // stride), -(-width // stride))
            for stride, channels in zip(STRIDES, backbone.channels, strict=True)
        ]


@pytest.mark.parametrize('name', BACKBONES)
def test_cutting_changes_no_feature_and_leaves_no_idle_weight(name: str) -> None:
    """What is kept is as before, and all of it learns: distributed training relies on that."""
    whole, cut = _build(name).eval(), _build(name).eval()
    cut.keep(8, 16)
    assert (cut.strides, cut.channels) == (whole.strides[1:3], whole.channels[1:3])
    image = torch.randn(1, 3, 49, 67)
    features = cut(image)
    with torch.inference_mode():
        for feature, expected in zip(features, whole(image)[1:3], strict=True):
            torch.testing.assert_close(feature.detach(), expected)
    sum(feature.square().mean() for feature in features).backward()
    assert [key for key, value in cut.named_parameters() if value.grad is None] == []
    assert _parameters(cut) < _parameters(whole)


@pytest.mark.parametrize('stride', [4, 8, 16])
@pytest.mark.parametrize('name', BACKBONES)
def test_every_backbone_carries_a_network(name: str, stride: int) -> None:
    """Cells at odd sizes; every weight serves them or the descriptors of landmarks."""
    network, image = _network(name, stride).train(), torch.randn(2, 3, 49, 67)
    geometry = network(image, torch.tensor([500.0, 550.0]))
    assert geometry.depth.shape == (2, -(-49 // stride), -(-67 // stride))
    (geometry.world_points.mean() + geometry.depth.mean() + geometry.weights.mean()).backward()
    sum(features.mean() for features in network.descriptor_features(image)).backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all()
        for parameter in network.parameters()
    )


@pytest.mark.parametrize('name', BACKBONES)
def test_every_backbone_comes_back_from_a_checkpoint(
    name: str, description: CheckpointDescription, tmp_path: Path
) -> None:
    """With the same outputs."""
    network = _network(name, 8).eval()
    path = tmp_path / 'network.safetensors'
    description = replace(description, network=network.config)
    save_checkpoint(path, network, description, half_precision=False)
    loaded, read = load_checkpoint(path)
    assert read == description
    image, focal_length = torch.randn(1, 3, 49, 67), torch.tensor([500.0])
    with torch.inference_mode():
        expected, found = network(image, focal_length), loaded(image, focal_length)
    torch.testing.assert_close(found.world_points, expected.world_points, rtol=0, atol=0)
    torch.testing.assert_close(found.depth, expected.depth, rtol=0, atol=0)


def test_efficientnet_lite_pads_like_tensorflow() -> None:
    """TensorFlow's padding: the centres of even sizes lie half a cell right and below."""
    backbone = _build('efficientnet_lite0')
    stem = backbone.get_submodule('stages.0.1')
    assert isinstance(stem, torch.nn.Conv2d)
    torch.nn.init.constant_(stem.weight, 0.0)
    with torch.no_grad():
        stem.weight[:, :, 1, 1] = 1.0
    for size, first in ((8, 1.0), (9, 0.0)):
        columns = torch.arange(size, dtype=torch.float32).expand(1, 3, size, size)
        centres = stem(columns)[0, 0, 0] / 3
        torch.testing.assert_close(centres, first + 2 * torch.arange(len(centres)).float())


def test_a_missing_timm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(CheckpointError, match=r"'hrnetv2' needs timm .* install"):
        SceneNetwork(NetworkConfig('hrnetv2'))
