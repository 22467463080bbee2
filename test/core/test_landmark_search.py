"""Landmarks are found to a fraction of a pixel, and only where they can be."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.landmark_search import STRIDE, Search, Sight, look_for
from implicit_loc.poses import exp_se3

if TYPE_CHECKING:
    from conftest import KnownPlace

MakePlace = Callable[..., 'KnownPlace']

WIDE = Search(6, 1000)
PLUMB_BOB = Camera(
    320, 240, 263.0, 260.0, 158.0, 121.0, 'plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.0)
)
EQUIDISTANT = Camera(320, 240, 150.0, 150.0, 160.0, 118.0, 'equidistant', (0.02, -0.01, 0.0, 0.0))


def _moved(place: 'KnownPlace', metres: float, degrees: float, seed: int = 0) -> NDArray:
    """A pose off by so much, (4, 4)."""
    directions = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3)))
    directions /= directions.norm(dim=1, keepdim=True)
    sizes = torch.tensor([[metres], [np.radians(degrees)]], dtype=torch.float64)
    return (place.world_from_camera[0] @ exp_se3((directions * sizes).flatten())).numpy()


def _errors_px(place: 'KnownPlace', sight: Sight, pose: NDArray, search: Search) -> NDArray:
    """Of all landmarks that were found."""
    cells = look_for(sight, pose, search)
    assert cells is not None
    found = cells.weights[0].numpy() > 0
    at = sight.camera.project(cells.rays[0].numpy()[found])
    true = place.world_from_camera[0].numpy()
    seen = (cells.world_points[0].numpy()[found] - true[:3, 3]) @ true[:3, :3]
    return np.asarray(np.linalg.norm(at - sight.camera.project(seen), axis=-1))


@pytest.mark.parametrize('camera', [None, PLUMB_BOB, EQUIDISTANT], ids=['none', 'plumb', 'fish'])
def test_landmarks_are_found_to_a_fraction_of_a_pixel(
    make_place: MakePlace, camera: Camera | None
) -> None:
    """Four pixels apart are the descriptors; whatever the lens does to straight lines."""
    place = make_place() if camera is None else make_place(camera=camera)
    errors = _errors_px(place, place.sight, _moved(place, 0.05, 2.0), WIDE)
    assert len(errors) > 0.9 * len(place.pixels)
    assert np.median(errors) < 0.4


def test_what_is_masked_is_not_found(make_place: MakePlace) -> None:
    """Nor what is next to it: the best place may be behind the mask."""
    place = make_place()
    ignored = np.zeros(place.sight.descriptors.shape[:2], bool)
    ignored[:, :40] = True
    masked = replace(place.sight, ignored=ignored)
    cells = look_for(masked, _moved(place, 0.0, 0.0), WIDE)
    assert cells is not None
    found = cells.weights[0].numpy() > 0
    pixels = masked.camera.project(cells.rays[0].numpy())
    assert (pixels[found, 0] > 40 * STRIDE).all()
    assert 0.3 < found.mean() < 0.6


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e38])
def test_descriptors_that_are_not_finite_are_nowhere(make_place: MakePlace, value: float) -> None:
    """They hide what lies there, and nothing else."""
    place = make_place()
    spoiled = place.sight.descriptors.copy()
    spoiled[:, :30] = value
    spoiled[10:20, 50:60, 3] = value
    sight = replace(place.sight, descriptors=spoiled)
    with np.errstate(all='raise', under='ignore'):
        errors = _errors_px(place, sight, _moved(place, 0.02, 1.0), WIDE)
    assert 0.3 * len(place.pixels) < len(errors) < 0.7 * len(place.pixels)
    assert np.median(errors) < 0.4
    nothing = look_for(
        replace(sight, descriptors=np.full_like(spoiled, value)), _moved(place, 0.0, 0.0), WIDE
    )
    assert nothing is not None
    assert not (nothing.weights > 0).any() or value == 1e38


@pytest.mark.parametrize('reach', [1, 2, 6, 40])
def test_windows_may_reach_over_the_edge_of_the_image(make_place: MakePlace, reach: int) -> None:
    """Even one that is larger than the image."""
    camera = Camera(60, 50, 50.0, 50.0, 29.5, 24.5)
    place = make_place(camera=camera)
    errors = _errors_px(place, place.sight, _moved(place, 0.0, 0.0), Search(reach, 100))
    assert len(errors) > 0.5 * len(place.pixels)
    assert np.median(errors) < 0.6


@pytest.mark.parametrize('reach', [2, 6, 16])
def test_the_order_of_descriptors_in_memory_does_not_matter(
    make_place: MakePlace, reach: int
) -> None:
    place = make_place()
    turned = replace(place.sight, descriptors=np.asfortranarray(place.sight.descriptors))
    pose, search = _moved(place, 0.01, 0.5), Search(reach, 100)
    expected = look_for(place.sight, pose, search)
    found = look_for(turned, pose, search)
    assert expected is not None
    assert found is not None
    assert (expected.weights > 0).any()
    assert torch.equal(found.weights, expected.weights)
    assert torch.equal(found.rays, expected.rays)


def test_landmarks_are_looked_for_only_from_where_they_were_seen(make_place: MakePlace) -> None:
    """Not from behind, from much nearer or farther, and not behind the camera."""
    place, here = make_place(), _moved(make_place(), 0.0, 0.0)
    landmarks = place.sight.landmarks
    for changed in (
        replace(landmarks, directions=-landmarks.directions),
        replace(landmarks, distances=landmarks.distances * 2),
        replace(landmarks, distances=landmarks.distances / 2),
        replace(landmarks, distances=np.zeros_like(landmarks.distances)),
        replace(landmarks, positions=2 * here[:3, 3] - landmarks.positions),
    ):
        assert look_for(replace(place.sight, landmarks=changed), here, WIDE) is None


def test_the_first_landmarks_are_preferred(make_place: MakePlace) -> None:
    place = make_place()
    cells = look_for(place.sight, _moved(place, 0.0, 0.0), Search(2, 10))
    assert cells is not None
    np.testing.assert_array_equal(
        cells.world_points[0].numpy(), place.sight.landmarks.positions[:10]
    )


def test_a_lens_does_not_fold_what_it_cannot_see_into_the_image(make_place: MakePlace) -> None:
    """The polynomial of a barrel distortion comes back towards the image's centre."""
    camera = Camera(320, 240, 263.0, 263.0, 159.5, 119.5, 'plumb_bob', (-0.35, 0.0, 0.0, 0.0))
    place = make_place(camera=camera)
    folded = np.array([[1.6, 0.0, 1.0], [0.0, 1.6, 1.0], [-1.5, 0.5, 1.0], [1.55, 0.2, 1.0]]) * 2
    pixels = camera.project(folded)
    assert ((pixels > 0) & (pixels < (320, 240))).all()
    true = place.world_from_camera[0].numpy()
    distances = np.linalg.norm(folded, axis=1)
    landmarks = replace(
        place.sight.landmarks,
        positions=folded @ true[:3, :3].T + true[:3, 3],
        descriptors=place.sight.landmarks.descriptors[: len(folded)],
        directions=-folded @ true[:3, :3].T / distances[:, None],
        distances=distances,
    )
    assert look_for(replace(place.sight, landmarks=landmarks), true, WIDE) is None


@pytest.mark.parametrize('count', [0, 1, 2])
def test_too_few_landmarks_are_none(make_place: MakePlace, count: int) -> None:
    place = make_place()
    few = place.sight.landmarks
    few = replace(
        few,
        positions=few.positions[:count],
        descriptors=few.descriptors[:count],
        directions=few.directions[:count],
        distances=few.distances[:count],
    )
    assert look_for(replace(place.sight, landmarks=few), _moved(place, 0.0, 0.0), WIDE) is None
