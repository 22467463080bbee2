"""Shapes, ranges and the focal length's effect."""

import pytest
import torch
from torch import Tensor

from implicit_loc.errors import CheckpointError
from implicit_loc.network import COARSEST_STRIDES, NetworkConfig, SceneGeometry, SceneNetwork
from implicit_loc.outputs import CAMERA_OUTPUTS, DEPTH_SCALES, homogeneous_points


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


def _geometry(config: NetworkConfig, focal_length: float = 525.0) -> SceneGeometry[Tensor]:
    torch.manual_seed(0)
    network = SceneNetwork(config).eval()
    with torch.inference_mode():
        return network(torch.randn(1, 3, 64, 64), torch.tensor([focal_length]))


def test_the_defaults_mean_what_they_meant_before_there_were_choices() -> None:
    """To the last bit: world points and depths that follow linearly from the heads' numbers."""
    torch.manual_seed(0)
    centre = torch.tensor([1.0, 2.0, 3.0])
    config = NetworkConfig(decoder_channels=8, scene_centre=(1.0, 2.0, 3.0), scene_scale=2.0)
    network = SceneNetwork(config).eval()
    numbers: dict[str, Tensor] = {}
    for name in ('world_head', 'depth_head', 'weight_head'):
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: numbers.update({name: output})
        )
    with torch.inference_mode():
        geometry = network(torch.randn(1, 3, 49, 67), torch.tensor([400.0]))
    world = centre + 2.0 * numbers['world_head'].permute(0, 2, 3, 1)
    share = numbers['depth_head'][:, 0].sigmoid()
    depth = (0.1 + (10.0 - 0.1) * share) * (torch.tensor([400.0]) / 525.0)[:, None, None]
    torch.testing.assert_close(geometry.world_points, world, rtol=0, atol=0)
    torch.testing.assert_close(geometry.depth, depth, rtol=0, atol=0)
    weights = numbers['weight_head'][:, 0].sigmoid()
    torch.testing.assert_close(geometry.weights, weights, rtol=0, atol=0)
    assert geometry.own_camera_points is None


def test_depth_that_is_not_canonical_does_not_know_the_focal_length() -> None:
    config = NetworkConfig(decoder_channels=8, canonical_depth=False)
    near, far = (_geometry(config, focal_length).depth for focal_length in (525.0, 1050.0))
    torch.testing.assert_close(far, near, rtol=0, atol=0)


@pytest.mark.parametrize('scale', DEPTH_SCALES)
def test_a_depth_scale_spans_its_range(scale: str) -> None:
    """From near to far, rising, and back from a depth to its share."""
    depth, share = DEPTH_SCALES[scale]
    shares = torch.linspace(0, 1, 11)
    depths = depth(shares, 0.1, 600.0)
    torch.testing.assert_close(depths[[0, -1]], torch.tensor([0.1, 600.0]))
    assert (depths.diff() > 0).all()
    for one, metres in zip(shares.tolist(), depths.tolist(), strict=True):
        assert share(metres, 0.1, 600.0) == pytest.approx(one, abs=1e-5)


def test_logarithmic_depth_takes_equal_factors() -> None:
    depths = DEPTH_SCALES['logarithmic'].depth(torch.linspace(0, 1, 5), 0.1, 1000.0)
    torch.testing.assert_close(depths, torch.tensor([0.1, 1.0, 10.0, 100.0, 1000.0]))


@pytest.mark.parametrize('scale', DEPTH_SCALES)
@pytest.mark.parametrize(
    ('near', 'far', 'start'),
    [(0.1, 10.0, 2.0), (0.1, 600.0, 10.0), (4.0, 6.0, 24**0.5), (20.0, 80.0, 40.0)],
)
def test_a_network_starts_at_a_plausible_depth(
    scale: str, near: float, far: float, start: float
) -> None:
    """Whatever the range: also where a fifth of it, or 10 m, lie outside."""
    config = NetworkConfig(decoder_channels=8, near=near, far=far, depth_scale=scale)
    network = SceneNetwork(config)
    bias = network.depth_head[-1].bias
    assert isinstance(bias, Tensor)
    found = DEPTH_SCALES[scale].depth(bias.detach().sigmoid(), near, far)
    assert found.item() == pytest.approx(start, rel=1e-4)


def test_homogeneous_points_are_bounded() -> None:
    """At most four times as far off as x y z, at least a hundredth, as x y z where h is zero."""
    directions = torch.randn(1, 3, 5, 7)
    for h, least, largest in ((-1e4, 3.99, 4.01), (0.0, 0.999, 1.001), (1e4, 0.0099, 0.0101)):
        raw = torch.cat([directions, torch.full((1, 1, 5, 7), h)], dim=1)
        factor = homogeneous_points(raw) / directions
        assert (factor > least).all()
        assert (factor < largest).all()


def test_homogeneous_output_learns_everywhere_within_its_bounds() -> None:
    h = torch.linspace(-5, 5, 11)
    raw = torch.cat([torch.ones(1, 3, 1, 11), h.view(1, 1, 1, 11)], dim=1).requires_grad_()
    homogeneous_points(raw).sum().backward()
    assert raw.grad is not None
    assert (raw.grad[:, 3] < 0).all()


def test_a_homogeneous_network_predicts_about_the_scene_centre() -> None:
    centre = (100.0, -50.0, 3.0)
    config = NetworkConfig(decoder_channels=8, world_output='homogeneous', scene_centre=centre)
    offset = _geometry(config).world_points.mean(dim=(0, 1, 2)) - torch.tensor(centre)
    assert offset.norm() < 3


def test_camera_points_follow_from_the_depth_or_are_predicted() -> None:
    """Their depth is the depth in both; only the depth knows the focal length."""
    rays = torch.randn(1, 8, 8, 3)
    rays[..., 2] = 1.0
    along_rays = _geometry(NetworkConfig(decoder_channels=8))
    torch.testing.assert_close(
        along_rays.camera_points(rays), along_rays.depth[..., None] * rays, rtol=0, atol=0
    )
    config = NetworkConfig(decoder_channels=8, camera_output='points', near=0.5, far=4.0)
    near, far = (_geometry(config, focal_length) for focal_length in (525.0, 1050.0))
    for geometry in (near, far):
        points = geometry.camera_points(rays)
        assert points.shape == (1, 8, 8, 3)
        torch.testing.assert_close(points[..., 2], geometry.depth, rtol=0, atol=0)
        assert not torch.allclose(points, geometry.depth[..., None] * rays)
    expected = near.camera_points(rays) * torch.tensor([1.0, 1.0, 2.0])
    torch.testing.assert_close(far.camera_points(rays), expected)
    assert (near.depth >= 0.5).all()
    assert (near.depth <= 4.0).all()


def test_mapping_a_geometry_reaches_every_array() -> None:
    for output in CAMERA_OUTPUTS:
        geometry = _geometry(NetworkConfig(decoder_channels=8, camera_output=output))
        doubled = geometry.map(lambda array: 2 * array)
        for name, value in vars(geometry).items():
            if value is not None:
                torch.testing.assert_close(getattr(doubled, name), 2 * value)
    assert doubled.own_camera_points is not None


def test_a_smaller_receptive_field_has_fewer_weights() -> None:
    wide, narrow = (
        SceneNetwork(NetworkConfig(coarsest_stride=stride)) for stride in COARSEST_STRIDES[::-1]
    )
    wide_count, narrow_count = (
        sum(parameter.numel() for parameter in network.parameters()) for network in (wide, narrow)
    )
    assert narrow_count < 0.5 * wide_count


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'backbone': 'vgg'}, "'vgg' is not known; known are mobilenet_v3_large"),
        ({'stride': 7}, 'the stride 7 is not known; known are 4, 8, 16'),
        ({'coarsest_stride': 8}, 'coarsest stride 8 is not known; known are 16, 32'),
        ({'depth_scale': 'log'}, "'log' is not known; known are linear, logarithmic"),
        ({'camera_output': ''}, "'' is not known; known are depth, points"),
        ({'world_output': 'flat'}, "'flat' is not known; known are metric, homogeneous"),
        ({'canonical_depth': 'yes'}, "canonical_depth is 'yes': it must be true or false"),
        ({'decoder_channels': 0}, 'decoder channels must be positive, not 0'),
        ({'far': float('inf')}, 'near < far'),
        ({'near': 5.0, 'far': 1.0}, 'near < far'),
        ({'canonical_focal_length': float('nan')}, 'must be positive'),
    ],
)
def test_an_impossible_layout_is_refused(arguments: dict, message: str) -> None:
    """With what is possible."""
    with pytest.raises(CheckpointError, match=message):
        NetworkConfig(**arguments)
