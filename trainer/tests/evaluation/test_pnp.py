"""PnP + RANSAC on synthetic world points."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.evaluation.pnp import solve_pnp

STRIDE = 8
PINHOLE = Camera(width=320, height=240, fx=262.0, fy=262.0, cx=159.5, cy=119.5)
FISHEYE = Camera(
    width=320, height=240, fx=180.0, fy=180.0, cx=159.5, cy=119.5,
    distortion_model='equidistant', distortion=(0.05, -0.01, 0.002, 0.0),
)  # fmt: skip
PLUMB_BOB = Camera(
    width=318, height=236, fx=262.0, fy=255.0, cx=150.0, cy=121.0,
    distortion_model='plumb_bob', distortion=(-0.25, 0.08, 0.001, -0.001, 0.0),
)  # fmt: skip


def true_pose(offset=0.0):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('xyz', (100, 20, -35), degrees=True).as_matrix()
    pose[:3, 3] = np.array([1.5, -0.7, 1.2]) + offset
    return pose


def seen_points(camera, pose, noise_m=0.0, outliers=0.0, seed=0):
    """World points of all cells, (h, w, 3) float32, at depths of one to four metres."""
    generator = np.random.default_rng(seed)
    rays = camera.rays(STRIDE).astype(np.float64)
    depth = generator.uniform(1.0, 4.0, size=rays.shape[:2])
    points = (depth[..., None] * rays) @ pose[:3, :3].T + pose[:3, 3]
    points += generator.normal(scale=noise_m, size=points.shape) if noise_m else 0.0
    wrong = generator.random(rays.shape[:2]) < outliers
    points[wrong] = pose[:3, 3] + generator.uniform(-5.0, 5.0, size=(wrong.sum(), 3))
    return points.astype(np.float32)


@pytest.mark.parametrize('camera', [PINHOLE, FISHEYE, PLUMB_BOB])
def test_the_pose_is_recovered_from_noisy_points_with_outliers(camera):
    pose = true_pose()
    found = solve_pnp(seen_points(camera, pose, noise_m=0.01, outliers=0.3), camera, STRIDE)
    assert translation_error_m(pose, found) < 0.01
    assert rotation_error_deg(pose, found) < 0.3


def test_many_noisy_points_average_out():
    # The noise of near points reaches the inlier threshold, so that the inliers of the first
    # hypothesis are a biased choice: refined only once, the mean error is 18 mm.
    pose = true_pose()
    errors_m = [
        translation_error_m(
            pose, solve_pnp(seen_points(PINHOLE, pose, 0.02, 0.2, seed), PINHOLE, STRIDE)
        )
        for seed in range(10)
    ]
    assert np.mean(errors_m) < 0.01


def test_exact_points_give_the_exact_pose():
    pose = true_pose()
    found = solve_pnp(seen_points(PLUMB_BOB, pose), PLUMB_BOB, STRIDE)
    assert translation_error_m(pose, found) < 1e-5
    assert rotation_error_deg(pose, found) < 1e-3


def test_a_flat_wall_gives_a_pose():
    pose = true_pose()
    wall = 2.0 * PINHOLE.rays(STRIDE).astype(np.float64)
    found = solve_pnp(wall @ pose[:3, :3].T + pose[:3, 3], PINHOLE, STRIDE)
    assert translation_error_m(pose, found) < 1e-3


def test_a_map_far_from_its_origin_loses_no_precision():
    pose = true_pose(offset=500_000.0)
    points = seen_points(PINHOLE, true_pose()).astype(np.float64) + 500_000.0
    found = solve_pnp(points, PINHOLE, STRIDE)
    assert translation_error_m(pose, found) < 1e-3


def test_the_same_points_give_the_same_pose():
    points = seen_points(PINHOLE, true_pose(), noise_m=0.05, outliers=0.5)
    first = solve_pnp(points, PINHOLE, STRIDE)
    # What happened before must not matter: RANSAC does not draw from a shared generator.
    solve_pnp(seen_points(PINHOLE, true_pose(), outliers=0.3, seed=7), PINHOLE, STRIDE)
    np.testing.assert_array_equal(first, solve_pnp(points, PINHOLE, STRIDE))


def test_non_finite_points_are_left_out():
    points = seen_points(PINHOLE, true_pose())
    points[::3] = np.nan
    points[:, ::5] = np.inf
    found = solve_pnp(points, PINHOLE, STRIDE)
    assert translation_error_m(true_pose(), found) < 1e-3


def no_finite_points():
    return np.full((30, 40, 3), np.nan, np.float32)


def three_points():
    points = no_finite_points()
    points[0, :3] = seen_points(PINHOLE, true_pose())[0, :3]
    return points


def equal_points():
    return np.full((30, 40, 3), 1.5, np.float32)


def points_on_a_line():
    along = np.linspace(-2.0, 2.0, 1200).reshape(30, 40, 1)
    return (along * np.array([1.0, 2.0, 0.5])).astype(np.float32)


def random_points():
    return np.random.default_rng(0).uniform(-3, 3, size=(30, 40, 3)).astype(np.float32)


@pytest.mark.parametrize(
    'points', [no_finite_points, three_points, equal_points, points_on_a_line]
)
def test_points_that_determine_no_pose_are_lost_without_an_exception(points):
    assert solve_pnp(points(), PINHOLE, STRIDE) is None


def test_points_without_any_geometry_never_give_a_pose_that_is_not_finite():
    found = solve_pnp(random_points(), PINHOLE, STRIDE)
    assert found is None or np.isfinite(found).all()


def test_points_behind_the_camera_are_no_pose():
    pose = true_pose()
    behind = -seen_points(PINHOLE, np.eye(4)).astype(np.float64)
    found = solve_pnp(behind @ pose[:3, :3].T + pose[:3, 3], PINHOLE, STRIDE)
    assert found is None or rotation_error_deg(pose, found) > 90
