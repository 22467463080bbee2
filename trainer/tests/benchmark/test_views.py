"""What is timed is what a trained map does: views, sizes, and the peers' answers."""

import numpy as np
import pytest
import torch

from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.benchmark import peers
from implicit_loc_trainer.benchmark.made_up import made_up_views
from implicit_loc_trainer.benchmark.situations import Situation, checkpoint_at, own_situation
from implicit_loc_trainer.benchmark.views import view_at

# Of the keyframe.
POSITION = (0.5, -0.2, 1.0)


def test_a_made_up_view_is_solved_as_one_of_the_place_is(place):
    """Without the fallbacks that noise would need, and on the landmarks."""
    localizer = Localizer(*place, device='cpu')
    (view,) = made_up_views(*place, 1)
    estimate = localizer.solve(view.geometry, view.camera)
    np.testing.assert_allclose(estimate.world_from_camera[:3, 3], POSITION, atol=0.05)
    assert not estimate.used_consensus
    assert 'landmarks' in estimate.timings


def test_a_map_without_landmarks_and_keyframes_has_views_too(place):
    _, description = place
    config = NetworkConfig(decoder_channels=16)
    bare = CheckpointDescription(
        **{**vars(description), 'network': config, 'keyframes': (), 'input_height': 120}
    )
    network = SceneNetwork(config).eval()
    (view,) = made_up_views(network, bare, 1)
    assert view.geometry.descriptors is None
    estimate = Localizer(network, bare, device='cpu').solve(view.geometry, view.camera)
    np.testing.assert_allclose(estimate.world_from_camera[:3, 3], (0.5, 0.0, 0.5), atol=0.1)


@pytest.mark.parametrize('situation', [Situation(120, 16), Situation(240, 4), Situation(480, 8)])
def test_a_network_of_another_size_predicts_what_the_view_of_that_size_holds(
    place, checkpoint, situation, tmp_path
):
    """The same shapes, so that a solver takes the one for the other."""
    path = checkpoint_at(checkpoint, situation, tmp_path)
    localizer = Localizer(*load_checkpoint(path), device='cpu')
    (view,) = made_up_views(*place, 1)
    seen = view_at(view, situation)
    assert seen.image.shape[0] == seen.camera.height == max(240, situation.height)
    predicted = localizer.predict(seen.image, seen.camera)
    for name, array in vars(predicted).items():
        expected = None if array is None else array.shape
        given = getattr(seen.geometry, name)
        assert expected == (None if given is None else given.shape)
    estimate = localizer.solve(seen.geometry, seen.camera)
    np.testing.assert_allclose(estimate.world_from_camera[:3, 3], POSITION, atol=0.1)


def test_weights_are_kept_where_they_fit(place, checkpoint, tmp_path):
    own = own_situation(checkpoint)
    assert checkpoint_at(checkpoint, own, tmp_path) == checkpoint
    larger, _ = load_checkpoint(checkpoint_at(checkpoint, Situation(480, 8), tmp_path))
    coarser, _ = load_checkpoint(checkpoint_at(checkpoint, Situation(240, 16), tmp_path))
    trained = load_checkpoint(checkpoint)[0].state_dict()
    assert all(torch.equal(t, trained[n]) for n, t in larger.state_dict().items())
    backbone = {n: t for n, t in coarser.state_dict().items() if n.startswith('backbone.')}
    assert all(torch.equal(t, trained[n]) for n, t in backbone.items())


def test_the_paper_read_straightforwardly_aligns_as_this_software_does():
    generator = torch.Generator().manual_seed(0)
    camera_points = torch.rand(50, 3, generator=generator) + 1
    turn = torch.linalg.qr(torch.rand(3, 3, generator=generator))[0]
    turn = turn * torch.linalg.det(turn)
    offset = torch.tensor([1.0, -2.0, 0.5])
    weights = torch.rand(50, generator=generator)
    pose = peers.align_by_svd(camera_points @ turn.T + offset, camera_points, weights)
    torch.testing.assert_close(pose[:3, :3], turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(pose[:3, 3], offset, atol=1e-5, rtol=0)


def test_the_papers_network_has_the_layout_of_the_paper():
    network = peers.paper_network(NetworkConfig(stride=8))
    assert network.config.backbone == 'mobilenet_v3_large'
    assert network.config.landmarks == 0
    # IV-C: 3.7 million parameters, of which 0.3 in our heads are more.
    count = sum(parameter.numel() for parameter in network.parameters())
    assert 3.0e6 < count < 4.5e6
