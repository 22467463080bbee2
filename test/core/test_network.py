"""Shapes, ranges and the focal length's effect."""

import pytest
import torch

from implicit_loc.errors import CheckpointError
from implicit_loc.network import NetworkConfig, SceneNetwork


@pytest.mark.parametrize('stride', [4, 8, 16])
@pytest.mark.parametrize('size', [(120, 160), (97, 131), (33, 64)])
def test_every_input_size_gives_the_cells_of_its_stride(
    stride: int, size: tuple[int, int]
) -> None:
    """Rounded up where the stride does not divide the size."""
    network = SceneNetwork(NetworkConfig(stride=stride, decoder_channels=8)).eval()
    height, width = size
    with torch.inference_mode():
        geometry = network(torch.randn(2, 3, height, width), torch.tensor([525.0, 525.0]))
    cells = (2, -(-height // stride), -(-width // stride))
    assert geometry.world_points.shape == (*cells, 3)
    assert geometry.depth.shape == cells
    assert geometry.weights.shape == cells


def test_outputs_keep_their_ranges() -> None:
    """Depth within [near, far], weights within [0, 1], whatever the input."""
    network = SceneNetwork(NetworkConfig(decoder_channels=8, near=0.5, far=4.0)).eval()
    with torch.inference_mode():
        geometry = network(100 * torch.randn(1, 3, 64, 64), torch.tensor([525.0]))
    assert (geometry.depth >= 0.5).all()
    assert (geometry.depth <= 4.0).all()
    assert (geometry.weights >= 0).all()
    assert (geometry.weights <= 1).all()


def test_depth_scales_with_the_focal_length() -> None:
    """The same image under twice the focal length shows things twice as far off."""
    network = SceneNetwork(NetworkConfig(decoder_channels=8)).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        near, far = (network(image, torch.tensor([f])).depth for f in (525.0, 1050.0))
    torch.testing.assert_close(far, 2 * near)


def test_half_precision_does_not_round_the_geometry() -> None:
    """Under autocast the hidden layers are coarse, but the outputs are not on a coarse grid."""
    network = SceneNetwork(NetworkConfig(decoder_channels=8)).eval()
    image, focal_length = torch.randn(1, 3, 64, 64), torch.tensor([525.0])
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        points = network(image, focal_length).world_points
    assert points.dtype == torch.float32
    assert not torch.equal(points, points.bfloat16().float())


def test_world_points_lie_about_the_scene_centre() -> None:
    """An untrained network predicts the scene's centre, not the origin."""
    torch.manual_seed(0)
    config = NetworkConfig(decoder_channels=8, scene_centre=(100.0, -50.0, 3.0))
    with torch.inference_mode():
        geometry = SceneNetwork(config).eval()(torch.randn(1, 3, 64, 64), torch.tensor([525.0]))
    offset = geometry.world_points.mean(dim=(0, 1, 2)) - torch.tensor(config.scene_centre)
    assert offset.norm() < 3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'backbone': 'vgg'}, "'vgg' is not known; known are mobilenet_v3_large"),
        ({'stride': 7}, 'stride is 7'),
        ({'near': 5.0, 'far': 1.0}, 'near < far'),
        ({'canonical_focal_length': float('nan')}, 'must be positive'),
    ],
)
def test_an_impossible_layout_is_refused(arguments: dict, message: str) -> None:
    """With what is possible."""
    with pytest.raises(CheckpointError, match=message):
        NetworkConfig(**arguments)
