"""Descriptors are comparable, and landmarks come back from a checkpoint as they were."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint, save_checkpoint
from implicit_loc.errors import CheckpointError
from implicit_loc.landmark_map import DESCRIPTOR_STRIDES, LandmarkMap, joined_features
from implicit_loc.network import NetworkConfig, SceneNetwork

COUNT = 7


def _map(seed: int = 0) -> LandmarkMap:
    generator = torch.Generator().manual_seed(seed)
    found = LandmarkMap(COUNT, (6, 4))
    for name, buffer in found.named_buffers():
        values = torch.rand(buffer.shape, generator=generator) + 0.1
        found.get_buffer(name).copy_(values)
    return found


def _features(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, 6, 15, 20, generator=generator),
        torch.randn(2, 4, 8, 10, generator=generator),
    ]


@pytest.fixture
def with_landmarks(description: CheckpointDescription) -> SceneNetwork:
    """A small network whose map holds landmarks of random values."""
    torch.manual_seed(0)
    network = SceneNetwork(replace(description.network, landmarks=COUNT)).eval()
    assert network.landmarks is not None
    for buffer in network.landmarks.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 0.1)
    return network


@pytest.fixture
def path(tmp_path: Path, with_landmarks: SceneNetwork, description: CheckpointDescription) -> Path:
    path = tmp_path / 'map.safetensors'
    save_checkpoint(path, with_landmarks, replace(description, network=with_landmarks.config))
    return path


def test_descriptors_have_unit_length_at_every_stride() -> None:
    """So that no stride outvotes the other, and a product is a sum of two cosines."""
    found = _map()(_features())
    assert found.shape == (2, 15, 20, 10)
    for part in found.split((6, 4), dim=-1):
        torch.testing.assert_close(part.norm(dim=-1), torch.ones(2, 15, 20))


def test_descriptors_know_no_brightness_of_their_features() -> None:
    """Features that are large or vary much everywhere tell no more than others."""
    landmarks, features = _map(), _features()
    scaled = _map()
    scaled.mean.copy_(3 * landmarks.mean + 5)
    scaled.deviation.copy_(3 * landmarks.deviation)
    torch.testing.assert_close(
        scaled([3 * level + 5 for level in features]), landmarks(features), rtol=1e-4, atol=1e-5
    )


def test_coarse_features_lie_under_the_fine_ones_that_they_cover() -> None:
    """A ramp keeps its place: the corners of the image agree, not the first cells' centres."""
    fine = torch.arange(20.0).expand(1, 1, 16, 20)
    coarse = (2 * torch.arange(10.0) + 0.5).expand(1, 1, 8, 10)
    joined = joined_features([fine, coarse])
    torch.testing.assert_close(joined[:, :, 1:-1, 1], joined[:, :, 1:-1, 0])


@pytest.mark.parametrize('backbone', ['mobilenet_v3_large', 'resnet34'])
@pytest.mark.parametrize('stride', [4, 8, 16])
def test_a_network_with_landmarks_describes_the_image(backbone: str, stride: int) -> None:
    """At the finest stride of the descriptors, whatever that of its output; others do not."""
    config = NetworkConfig(backbone, stride, decoder_channels=8)
    network = SceneNetwork(config).eval()
    image, focal_length = torch.randn(1, 3, 49, 67), torch.tensor([60.0])
    with torch.inference_mode():
        plain = network(image, focal_length)
        network.landmarks = network.empty_landmarks(COUNT)
        described = network(image, focal_length)
    finest = DESCRIPTOR_STRIDES[0]
    assert plain.descriptors is None
    assert described.descriptors is not None
    assert described.descriptors.shape[:3] == (1, -(-49 // finest), -(-67 // finest))
    assert described.descriptors.shape[3] == network.landmarks.descriptors.shape[1]
    torch.testing.assert_close(described.world_points, plain.world_points, rtol=0, atol=0)


@pytest.mark.parametrize('half', [True, False])
def test_landmarks_come_back_bit_by_bit(
    tmp_path: Path, with_landmarks: SceneNetwork, description: CheckpointDescription, half: bool
) -> None:
    """Positions are not rounded to half precision, which would cost centimetres."""
    path = tmp_path / 'map.safetensors'
    described = replace(description, network=with_landmarks.config)
    save_checkpoint(path, with_landmarks, described, half_precision=half)
    loaded, read = load_checkpoint(path)
    assert read.network.landmarks == COUNT
    assert loaded.landmarks is not None
    assert with_landmarks.landmarks is not None
    kept = dict(loaded.landmarks.named_buffers())
    for name, buffer in with_landmarks.landmarks.named_buffers():
        assert kept[name].dtype == buffer.dtype
        assert torch.equal(kept[name], buffer)
    assert kept['positions'].dtype == torch.float32
    assert kept['descriptors'].dtype == torch.float16


def test_a_checkpoint_without_landmarks_has_none(checkpoint_path: Path) -> None:
    """As all had before there were any."""
    network, description = load_checkpoint(checkpoint_path)
    assert description.network.landmarks == 0
    assert network.landmarks is None
    assert not any('landmarks' in name for name in load_file(checkpoint_path))


@pytest.mark.parametrize('count', [-1, 2.5, '7', None, True])
def test_a_number_of_landmarks_that_is_none_is_refused(count: object) -> None:
    with pytest.raises(CheckpointError, match='number of landmarks is'):
        NetworkConfig(landmarks=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('positions', None, r'lacks the weight landmarks\.positions'),
        ('positions', torch.zeros(COUNT + 1, 3), r'has shape \(8, 3\), its header'),
        ('descriptors', torch.zeros(COUNT, 5), r'landmarks\.descriptors has shape \(7, 5\)'),
        ('positions', torch.full((COUNT, 3), torch.nan), r'landmarks\.positions is not finite'),
        ('distances', torch.full((COUNT,), torch.inf), r'landmarks\.distances is not finite'),
    ],
)
def test_landmarks_that_are_not_as_described_are_refused(
    path: Path, name: str, value: Tensor | None, message: str
) -> None:
    """In part, in another number, of another network, or not finite."""
    tensors = load_file(path)
    del tensors[f'landmarks.{name}']
    if value is not None:
        tensors[f'landmarks.{name}'] = value
    _rewrite(path, tensors)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_a_wrong_count_and_a_cut_file_are_refused(path: Path) -> None:
    whole, tensors = path.read_bytes(), load_file(path)
    path.write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match='truncated'):
        load_checkpoint(path)
    path.write_bytes(whole)
    _rewrite(path, tensors, landmarks=COUNT - 1)
    with pytest.raises(CheckpointError, match='its header describes'):
        load_checkpoint(path)
    _rewrite(path, tensors, landmarks=0)
    with pytest.raises(CheckpointError, match=r'unknown weight landmarks\.'):
        load_checkpoint(path)


def _rewrite(path: Path, tensors: dict[str, Tensor], landmarks: int | None = None) -> None:
    """The file with other tensors, and with another number of landmarks in its header."""
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['implicit_loc'])
    if landmarks is not None:
        header['network']['landmarks'] = landmarks
    save_file(tensors, path, metadata={'implicit_loc': json.dumps(header)})
