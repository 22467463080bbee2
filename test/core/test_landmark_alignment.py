"""The last centimetres: right where landmarks are in sight, and nothing where they are not."""

from collections.abc import Callable
from dataclasses import astuple, replace
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc import uncertainty
from implicit_loc.camera import Camera
from implicit_loc.cells import Cells
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.landmark_alignment import align_to_landmarks, better
from implicit_loc.landmark_search import Landmarks
from implicit_loc.poses import angle_between, exp_se3, transform_points
from implicit_loc.solvers import Solution, solve

if TYPE_CHECKING:
    from conftest import KnownPlace

MakePlace = Callable[..., 'KnownPlace']

PLUMB_BOB = Camera(
    320, 240, 263.0, 260.0, 158.0, 121.0, 'plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.0)
)
EQUIDISTANT = Camera(320, 240, 150.0, 150.0, 160.0, 118.0, 'equidistant', (0.02, -0.01, 0.0, 0.0))


def _start(place: 'KnownPlace', metres: float, degrees: float, seed: int = 0) -> Tensor:
    """A pose off by so much, (1, 4, 4)."""
    directions = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3)))
    directions /= directions.norm(dim=1, keepdim=True)
    sizes = torch.tensor([[metres], [np.radians(degrees)]], dtype=torch.float64)
    return place.world_from_camera @ exp_se3((directions * sizes).flatten())


def _error_px(place: 'KnownPlace', pose: Tensor) -> float:
    """The mean distance at which a pose sees the landmarks from where they are."""
    true, camera = pose[0].numpy(), place.sight.camera
    seen = (place.sight.landmarks.positions - true[:3, 3]) @ true[:3, :3]
    return float(np.linalg.norm(camera.project(seen) - place.pixels, axis=1).mean())


def _cells(place: 'KnownPlace', pose: Tensor, noise: float = 0.0, count: int = 300) -> Cells:
    """What a network might predict that is wrong by a motion: its cells agree with a pose."""
    rng = np.random.default_rng(1)
    pixels = rng.uniform((10, 10), (place.sight.camera.width - 10, 230), (count, 2))
    rays = torch.from_numpy(place.sight.camera.unproject(pixels))[None]
    camera_points = rays * torch.from_numpy(rng.uniform(1.5, 4.0, (1, count, 1)))
    world = transform_points(pose, camera_points) + noise * torch.from_numpy(
        rng.normal(size=(1, count, 3))
    )
    focal_length = torch.tensor([place.sight.camera.focal_length], dtype=torch.float64)
    return Cells(world, camera_points, rays, torch.ones(1, count).double(), focal_length)


def _fewer(landmarks: Landmarks, count: int) -> Landmarks:
    return Landmarks(*(values[:count] for values in vars(landmarks).values()))


@pytest.mark.parametrize('seed', [0, 1, 2])
@pytest.mark.parametrize('camera', [None, PLUMB_BOB, EQUIDISTANT], ids=['none', 'plumb', 'fish'])
def test_the_pose_is_found_from_ten_centimetres_and_four_degrees(
    make_place: MakePlace, camera: Camera | None, seed: int
) -> None:
    """To a tenth of a pixel: a forty-eighth of what the network's cells are apart."""
    place = make_place(seed) if camera is None else make_place(seed, camera)
    found = align_to_landmarks(place.sight, _start(place, 0.1, 4.0, seed))
    assert found is not None
    assert found.is_found
    assert found.share > 0.9
    assert _error_px(place, found.world_from_camera) < 0.1


def test_most_landmarks_may_look_like_something_else(make_place: MakePlace) -> None:
    place = make_place(wrong=0.6)
    found = align_to_landmarks(place.sight, _start(place, 0.1, 4.0))
    assert found is not None
    assert found.is_found
    assert found.share == pytest.approx(0.4, abs=0.1)
    assert _error_px(place, found.world_from_camera) < 0.15


def test_a_pose_far_off_is_found_by_the_widest_search(make_place: MakePlace) -> None:
    """Farther than the wide windows reach."""
    place = make_place(wrong=0.3)
    start = _start(place, 0.3, 11.0)
    assert _error_px(place, start) > 40
    found = align_to_landmarks(place.sight, start)
    assert found is not None
    assert found.is_found
    assert _error_px(place, found.world_from_camera) < 0.15


@pytest.mark.parametrize('seed', range(5))
def test_landmarks_that_are_not_there_are_not_found(make_place: MakePlace, seed: int) -> None:
    """Another place, from a pose that is as good as any."""
    place = make_place(seed, wrong=1.0)
    found = align_to_landmarks(place.sight, _start(place, 0.1, 4.0))
    assert found is None or not found.is_found


@pytest.mark.parametrize('degrees', [60, 90, 180])
def test_a_lost_pose_finds_nothing(make_place: MakePlace, degrees: float) -> None:
    """A pose that sees few landmarks, or all of them in one spot, needs no luck to agree."""
    place = make_place()
    for seed in range(5):
        found = align_to_landmarks(place.sight, _start(place, 1.0, degrees, seed))
        assert found is None or not found.is_found or _error_px(place, found.world_from_camera) < 1


def test_a_handful_of_landmarks_proves_nothing(make_place: MakePlace) -> None:
    """Even where all of them agree; two are not looked for at all."""
    place = make_place()
    few = replace(place.sight, landmarks=_fewer(place.sight.landmarks, 10))
    found = align_to_landmarks(few, _start(place, 0.02, 1.0))
    assert found is not None
    assert found.agreeing >= 8
    assert not found.is_found
    two = replace(place.sight, landmarks=_fewer(place.sight.landmarks, 2))
    assert align_to_landmarks(two, place.world_from_camera) is None


def test_a_place_far_from_the_worlds_origin_loses_nothing(make_place: MakePlace) -> None:
    """UTM coordinates."""
    near, far = make_place(), make_place(offset=1e6)
    errors = []
    for place in (near, far):
        found = align_to_landmarks(place.sight, _start(place, 0.1, 4.0))
        assert found is not None
        errors.append(_error_px(place, found.world_from_camera))
    assert errors[1] == pytest.approx(errors[0], abs=1e-3)


def test_the_same_image_gives_the_same_pose(make_place: MakePlace) -> None:
    """To the last bit, also through the widest search."""
    place = make_place(wrong=0.5)
    for start in (_start(place, 0.1, 4.0), _start(place, 0.3, 11.0)):
        first, second = (align_to_landmarks(place.sight, start) for _ in range(2))
        assert first is not None
        assert second is not None
        assert torch.equal(first.world_from_camera, second.world_from_camera)
        assert first.share == second.share


def test_masked_places_have_no_say(make_place: MakePlace) -> None:
    """Half of the image shows its landmarks 8 px beside where they are."""
    place = make_place()
    spoiled = place.sight.descriptors.copy()
    spoiled[:, :40] = np.roll(spoiled, 2, axis=1)[:, :40]
    ignored = np.zeros(spoiled.shape[:2], bool)
    ignored[:, :43] = True
    sight = replace(place.sight, descriptors=spoiled, ignored=ignored)
    found = align_to_landmarks(sight, _start(place, 0.1, 4.0))
    assert found is not None
    assert found.is_found
    assert _error_px(place, found.world_from_camera) < 0.15


def test_landmarks_improve_what_the_cells_tell(make_place: MakePlace) -> None:
    """And where there are none in sight, the pose of the cells stands."""
    place = make_place()
    network = _start(place, 0.1, 3.0)
    cells = _cells(place, network, noise=0.02)
    improved = solve(cells, 'landmarks', place.sight)
    assert improved.on_landmarks is not None
    assert improved.on_landmarks.is_found
    assert _error_px(place, improved.world_from_camera) < 0.1
    robust = solve(cells, 'robust').world_from_camera
    other = make_place(wrong=1.0).sight
    for sight in (None, other, replace(place.sight, landmarks=_fewer(other.landmarks, 0))):
        assert torch.equal(solve(cells, 'landmarks', sight).world_from_camera, robust)


def test_landmarks_overrule_a_network_that_is_far_off(
    make_place: MakePlace, description: CheckpointDescription
) -> None:
    """They are measured one by one, its cells may be wrong together; but it raises doubt."""
    place = make_place()
    wrong, right = (
        solve(_cells(place, pose), 'landmarks', place.sight)
        for pose in (_start(place, 0.6, 11.0), place.world_from_camera)
    )
    assert wrong.on_landmarks is not None
    assert wrong.on_landmarks.is_found
    assert _error_px(place, wrong.world_from_camera) < 0.1
    angle = angle_between(wrong.world_from_camera[:, :3, :3], wrong.first_pose[:, :3, :3])
    assert float(angle.rad2deg()) > 10
    doubted, trusted = (uncertainty.assess(found, description) for found in (wrong, right))
    assert doubted.evidence.moved_m > 0.5
    assert doubted.confidence < trusted.confidence


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(['as it is', 'NaN', 'inf', 'zero', 'plane', 'line', 'point', 'huge']),
    wrong=st.sampled_from([0.0, 0.5, 0.9]),
    count=st.sampled_from([3, 30, 192]),
    metres=st.sampled_from([0.0, 0.1, 3.0]),
    seed=st.integers(0, 1000),
)
def test_whatever_is_found_the_covariance_is_one(
    make_place: MakePlace,
    description: CheckpointDescription,
    kind: str,
    wrong: float,
    count: int,
    metres: float,
    seed: int,
) -> None:
    """Positive definite and finite, like the pose and its evidence."""
    place = make_place(seed, wrong=wrong, channels=16)
    landmarks = _fewer(place.sight.landmarks, count)
    image = place.sight.descriptors.copy()
    fill = {'NaN': np.nan, 'inf': np.inf, 'zero': 0.0, 'huge': 1e38}
    if kind in fill:
        image[::2] = fill[kind]
    flattened = {'plane': (1, 1, 0), 'line': (1, 0, 0), 'point': (0, 0, 0)}.get(kind, (1, 1, 1))
    centre = landmarks.positions.mean(axis=0)
    flat = centre + (landmarks.positions - centre) * flattened
    sight = replace(place.sight, landmarks=replace(landmarks, positions=flat), descriptors=image)
    cells = _cells(place, _start(place, metres, 4.0, seed), noise=0.05)
    solution = solve(cells, 'landmarks', sight)
    _require_honest(solution, description)
    found = align_to_landmarks(sight, _start(place, metres, 4.0, seed))
    if found is not None:
        # As if it had been found, whatever it is.
        claimed = replace(found, share=1.0)
        pose = claimed.world_from_camera
        _require_honest(
            replace(solution, world_from_camera=pose, on_landmarks=claimed), description
        )


def test_the_pose_with_more_agreeing_landmarks_is_kept(make_place: MakePlace) -> None:
    place = make_place()
    found = align_to_landmarks(place.sight, _start(place, 0.02, 1.0, 0))
    assert found is not None
    worse = replace(found, agreeing=found.agreeing - 1)
    assert better(worse, found) is found
    assert better(found, worse) is found
    assert better(None, worse) is worse
    assert better(worse, None) is worse
    assert better(None, None) is None


def _require_honest(solution: Solution, description: CheckpointDescription) -> None:
    assert solution.world_from_camera.isfinite().all()
    found = uncertainty.assess(solution, description)
    np.testing.assert_array_equal(found.covariance, found.covariance.T)
    np.linalg.cholesky(found.covariance)
    assert 0 <= found.confidence <= 1
    assert all(map(isfinite, astuple(found.evidence)))
