"""The same landmarks in the same places as on the host."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.device_solving.camera import DeviceCamera
from implicit_loc.device_solving.landmarks import DeviceLandmarks, Sighting
from implicit_loc.landmark_alignment import CLOSER_SEARCHES, WIDE_SEARCH
from implicit_loc.landmark_search import Search, look_for
from implicit_loc.poses import exp_se3

if TYPE_CHECKING:
    from conftest import KnownPlace

MakePlace = Callable[..., 'KnownPlace']


def _look(place: 'KnownPlace', pose: torch.Tensor, search: Search) -> Sighting:
    sight = place.sight
    landmarks = DeviceLandmarks(sight.landmarks, DeviceCamera(sight.camera, 8))
    return landmarks.look_for(torch.from_numpy(sight.descriptors), pose, search)


@pytest.mark.parametrize('search', [WIDE_SEARCH, *CLOSER_SEARCHES, Search(6, 30)])
@pytest.mark.parametrize('size', [0.0, 0.05, 1.0])
def test_what_is_found_is_what_the_host_finds(
    make_place: MakePlace, camera: Camera, search: Search, size: float
) -> None:
    """From the true pose, near it, and from one that sees other landmarks than are there."""
    place = make_place(camera=camera, wrong=0.2)
    directions = torch.from_numpy(np.random.default_rng(0).normal(size=6))
    pose = place.world_from_camera @ exp_se3(size * directions)
    expected = look_for(place.sight, pose[0].numpy(), search)
    found = _look(place, pose, search)
    if expected is None:
        assert found.looked_for < 3
        return
    count = expected.weights.shape[1]
    assert found.looked_for == count
    assert found.is_real.sum() == count
    assert not found.cells.weights[0, count:].any()
    for name, values in vars(expected).items():
        device = getattr(found.cells, name)
        if name != 'focal_length':
            device = device[:, :count]
        torch.testing.assert_close(device, values, rtol=1e-5, atol=1e-5)


def test_nothing_in_sight_is_nothing(make_place: MakePlace) -> None:
    """Whatever the pose, also one that is not finite."""
    place = make_place()
    away = place.world_from_camera.clone()
    away[0, :3, 3] += 1e6
    for pose in (away, torch.full_like(away, torch.nan), torch.full_like(away, torch.inf)):
        found = _look(place, pose, WIDE_SEARCH)
        assert found.looked_for == 0
        assert not found.cells.weights.any()
        assert found.cells.rays.isfinite().all()
