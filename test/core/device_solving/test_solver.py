"""What a device finds is what the host would find, or it says that the host must decide."""

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.errors import AlignmentError
from implicit_loc.landmark_search import Landmarks

if TYPE_CHECKING:
    from conftest import Geometry, Scene

MakeScene = Callable[..., 'Scene']

FISHEYE_WITH_BLIND_CORNERS = Camera(
    320, 240, 80.0, 80.0, 159.5, 119.5, 'equidistant', (0.0, 0.0, 0.0, 0.0)
)


def _require_same(
    scene: 'Scene', description: CheckpointDescription, metres: float = 1e-6
) -> None:
    """Pose, covariance, confidence and all that they follow from."""
    found, expected = scene.on_device(), scene.on_host()
    assert found.is_decided
    facts = found.facts()
    for pose, other in (
        (facts.world_from_camera, expected.world_from_camera[0].numpy()),
        (facts.first_pose, expected.first_pose[0].numpy()),
    ):
        np.testing.assert_allclose(pose[:3, 3], other[:3, 3], rtol=0, atol=metres)
        np.testing.assert_allclose(pose[:3, :3], other[:3, :3], rtol=0, atol=1e-6)
    assert not expected.used_consensus.any()
    device, host = scene.assessments(description)
    np.testing.assert_allclose(device.covariance, host.covariance, rtol=1e-3, atol=1e-9)
    assert device.confidence == pytest.approx(host.confidence, abs=1e-6)
    assert astuple(device.evidence) == pytest.approx(astuple(host.evidence), abs=1e-5)
    assert astuple(device.residuals) == pytest.approx(astuple(host.residuals), abs=1e-4)


@pytest.mark.parametrize('seed', [0, 1])
def test_landmarks_give_the_pose_of_the_host(
    make_scene: MakeScene, description: CheckpointDescription, camera: Camera, seed: int
) -> None:
    """With every lens; some of the landmarks look like something else."""
    _require_same(make_scene(camera, seed, wrong=0.3), description)


@pytest.mark.parametrize('seed', [0, 1])
def test_cells_give_the_pose_of_the_host(
    make_scene: MakeScene, description: CheckpointDescription, camera: Camera, seed: int
) -> None:
    _require_same(make_scene(camera, seed, has_landmarks=False), description, metres=1e-9)


def test_predicted_camera_points_count(
    make_scene: MakeScene, description: CheckpointDescription
) -> None:
    """In the place of depth and rays."""
    for has_landmarks in (True, False):
        scene = make_scene(has_landmarks=has_landmarks)
        rays = scene.camera.rays(8)
        points = scene.geometry.depth[..., None] * rays + np.float32(0.01)
        geometry = replace(scene.geometry, own_camera_points=points)
        _require_same(replace(scene, geometry=geometry), description)


def test_a_map_far_from_its_origin_keeps_its_digits(
    make_scene: MakeScene, description: CheckpointDescription
) -> None:
    """A kilometre: float32 would lose tenths of millimetres."""
    _require_same(make_scene(offset=1e3), description)


def test_cells_that_are_not_finite_are_left_out(
    make_scene: MakeScene, description: CheckpointDescription
) -> None:
    """As on the host, like those that the lens has no ray for."""
    for has_landmarks in (True, False):
        scene = make_scene(has_landmarks=has_landmarks)
        world, depth, weights = (
            values.copy()
            for values in (
                scene.geometry.world_points,
                scene.geometry.depth,
                scene.geometry.weights,
            )
        )
        world[3, 4:8], depth[5, :2], weights[7, 7], weights[9] = np.nan, np.inf, np.nan, 0
        geometry = replace(scene.geometry, world_points=world, depth=depth, weights=weights)
        _require_same(replace(scene, geometry=geometry), description)
    blind = make_scene(FISHEYE_WITH_BLIND_CORNERS, has_landmarks=False)
    assert not np.isfinite(blind.camera.rays(8)).all()
    _require_same(blind, description)


def test_descriptors_that_are_not_finite_are_nowhere(
    make_scene: MakeScene, description: CheckpointDescription
) -> None:
    scene = make_scene()
    descriptors = scene.geometry.descriptors
    assert descriptors is not None
    spoilt = descriptors.copy()
    spoilt[:, :30], spoilt[10:20, 50:60, 3] = np.nan, np.inf
    geometry = replace(scene.geometry, descriptors=spoilt)
    _require_same(replace(scene, geometry=geometry), description)


def _fewer(landmarks: Landmarks | None, count: int) -> Landmarks:
    assert landmarks is not None
    return Landmarks(*(values[:count] for values in vars(landmarks).values()))


@pytest.mark.parametrize('count', [1, 2, 10])
def test_a_handful_of_landmarks_is_for_the_host(make_scene: MakeScene, count: int) -> None:
    """It goes on with the cells, and so it does where landmarks look like nothing in the image."""
    scene = make_scene()
    few = replace(scene, landmarks=_fewer(scene.landmarks, count))
    assert not few.on_device().is_decided
    assert not make_scene(wrong=1.0).on_device().is_decided


def test_a_pose_far_off_is_for_the_host(make_scene: MakeScene) -> None:
    """Which searches farther, or finds that nothing is in sight."""
    assert not make_scene(shift=(1.5, 1.0, -1.0)).on_device().is_decided
    assert not make_scene(shift=(100.0, 0.0, 0.0)).on_device().is_decided


def test_cells_that_hardly_agree_are_for_the_host(make_scene: MakeScene) -> None:
    """Its consensus finds what a refinement cannot."""
    assert not make_scene(outliers=0.97, noise=0.5, has_landmarks=False).on_device().is_decided


def _spoilt(geometry: 'Geometry', kind: str) -> 'Geometry':
    values = {
        'weights are zero': {'weights': np.zeros_like(geometry.weights)},
        'weights are negative': {'weights': -geometry.weights},
        'weights are NaN': {'weights': np.full_like(geometry.weights, np.nan)},
        'points are NaN': {'world_points': np.full_like(geometry.world_points, np.nan)},
        'points are infinite': {'world_points': np.full_like(geometry.world_points, np.inf)},
        'points are one': {'world_points': np.ones_like(geometry.world_points)},
        'points are on a line': {'world_points': geometry.world_points * (1, 0, 0)},
        'depth is infinite': {'depth': np.full_like(geometry.depth, np.inf)},
        'two cells have weight': {'weights': np.where(np.arange(40) < 2, geometry.weights, 0)},
    }[kind]
    if kind == 'two cells have weight':
        values['weights'][1:] = 0
    return replace(geometry, **{name: part.astype(np.float32) for name, part in values.items()})


@pytest.mark.parametrize(
    'kind',
    [
        'weights are zero',
        'weights are negative',
        'weights are NaN',
        'points are NaN',
        'points are infinite',
        'points are one',
        'points are on a line',
        'depth is infinite',
        'two cells have weight',
    ],
)
@pytest.mark.parametrize('has_landmarks', [True, False])
def test_what_has_no_pose_is_for_the_host_to_refuse(
    make_scene: MakeScene, kind: str, has_landmarks: bool
) -> None:
    scene = make_scene(has_landmarks=has_landmarks)
    spoilt = replace(scene, geometry=_spoilt(scene.geometry, kind))
    assert not spoilt.on_device().is_decided
    with pytest.raises(AlignmentError):
        spoilt.on_host()


def test_whatever_is_decided_is_what_the_host_finds(
    make_scene: MakeScene, description: CheckpointDescription
) -> None:
    """Good and bad predictions of all kinds; of both kinds there are some."""
    scenes = [_any_scene(make_scene, seed) for seed in range(12)]
    decided = [scene for scene in scenes if scene.on_device().is_decided]
    assert 3 < len(decided) < len(scenes)
    for scene in decided:
        _require_same(scene, description)


def _any_scene(make_scene: MakeScene, seed: int) -> 'Scene':
    rng = np.random.default_rng(seed)
    return make_scene(
        seed=seed,
        shift=tuple(rng.normal(size=3) * rng.choice([0.01, 0.1, 0.4])),
        noise=float(rng.choice([0.0, 0.05, 0.4])),
        outliers=float(rng.choice([0.0, 0.3, 0.8])),
        has_landmarks=bool(rng.integers(2)),
        wrong=float(rng.choice([0.0, 0.5, 0.8])),
    )
