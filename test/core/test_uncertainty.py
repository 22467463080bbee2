"""Covariance and confidence follow the residuals."""

import numpy as np
import pytest

pytest.importorskip('scipy', reason='scipy is not installed')

from scipy.spatial.transform import Rotation

from implicit_loc import uncertainty
from implicit_loc.alignment import align_one

FOCAL_LENGTH = 262.0


def _scene(
    noise: float, seed: int = 0, count: int = 1200
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rays = np.concatenate([rng.uniform(-0.6, 0.6, (count, 2)), np.ones((count, 1))], axis=1)
    camera = rays * rng.uniform(1, 4, (count, 1))
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.4, -1.0, 0.3]).as_matrix()
    pose[:3, 3] = (1, 2, 3)
    world = camera @ pose[:3, :3].T + pose[:3, 3] + noise * rng.normal(size=(count, 3))
    return world, camera, rays, pose


def _estimate(
    noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, uncertainty.ResidualStatistics]:
    world, camera, rays, _ = _scene(noise, seed)
    weights = np.ones(len(world))
    pose = align_one(world, camera, weights)
    statistics = uncertainty.residual_statistics(pose, world, camera, rays, weights, FOCAL_LENGTH)
    covariance = uncertainty.pose_covariance(pose, camera, weights, statistics.alignment_rms_m)
    return pose, covariance, statistics


def test_statistics_of_known_noise() -> None:
    _, _, statistics = _estimate(0.05)
    assert statistics.cells == 1200
    assert statistics.alignment_rms_m == pytest.approx(0.05 * np.sqrt(3), rel=0.05)
    assert statistics.inlier_ratio > 0.9
    _, _, perfect = _estimate(0.0)
    assert perfect.inlier_ratio == pytest.approx(1.0)
    assert perfect.reprojection_median_px < 1e-6


@pytest.mark.parametrize('noise', [0.0, 0.05, 1.0, 100.0])
def test_the_covariance_is_positive_definite_and_never_zero(noise: float) -> None:
    """robot_localization takes a zero covariance as absolute trust."""
    _, covariance, _ = _estimate(noise)
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance)[0] > 0
    assert np.sqrt(np.diag(covariance)[:3]).min() >= uncertainty.FLOOR_TRANSLATION_M
    assert np.sqrt(np.diag(covariance)[3:]).min() >= uncertainty.FLOOR_ROTATION_RAD


def test_the_covariance_has_the_shape_of_the_real_errors() -> None:
    """For independent cells, the covariance over many trials, but for the correlation factor."""
    truth = _scene(0.0)[3]
    errors = []
    for seed in range(300):
        world, camera, _, _ = _scene(0.2, seed=0)
        world = world + 0.2 * np.random.default_rng(seed + 1).normal(size=world.shape)
        pose = align_one(world, camera, np.ones(len(world)))
        turn = Rotation.from_matrix(pose[:3, :3] @ truth[:3, :3].T).as_rotvec()
        errors.append(np.concatenate([pose[:3, 3] - truth[:3, 3], turn]))
    sampled = np.cov(np.array(errors).T)
    _, predicted, _ = _estimate(0.2)
    floor = np.repeat([uncertainty.FLOOR_TRANSLATION_M**2, uncertainty.FLOOR_ROTATION_RAD**2], 3)
    predicted = (predicted - np.diag(floor)) / uncertainty.CELLS_PER_INDEPENDENT_CELL
    ratio = np.diag(sampled) / np.diag(predicted)
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()
    correlation = sampled / np.sqrt(np.outer(np.diag(sampled), np.diag(sampled)))
    expected = predicted / np.sqrt(np.outer(np.diag(predicted), np.diag(predicted)))
    np.testing.assert_allclose(correlation, expected, atol=0.2)


def test_confidence_falls_with_the_noise() -> None:
    values = []
    for noise in (0.0, 0.1, 0.3, 1.0, 10.0):
        _, covariance, statistics = _estimate(noise)
        values.append(uncertainty.confidence(statistics, covariance))
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.95
    assert 0 <= values[-1] < 0.05


def test_points_behind_the_camera_do_not_spoil_the_statistics() -> None:
    world, camera, rays, pose = _scene(0.0)
    world[:100] = pose[:3, 3] - pose[:3, 2]
    statistics = uncertainty.residual_statistics(
        pose, world, camera, rays, np.ones(len(world)), FOCAL_LENGTH
    )
    assert np.isfinite(statistics.reprojection_median_px)
    assert statistics.inlier_ratio == pytest.approx(1100 / 1200)


def test_the_weighted_median_follows_the_weights() -> None:
    values = np.array([3.0, 1.0, 2.0])
    assert uncertainty.weighted_median(values, np.array([0.2, 0.2, 0.6])) == 2.0
    assert uncertainty.weighted_median(values, np.array([0.8, 0.1, 0.1])) == 3.0
