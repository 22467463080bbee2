"""The baselines of the paper: rigid + RANSAC and PnP + RANSAC."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

pytest.importorskip('scipy', reason='scipy is not installed')

from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.cells import Cells
from implicit_loc.errors import AlignmentError
from implicit_loc.ransac import pnp_ransac, rigid_ransac, solve_pnp

MakeCells = Callable[..., tuple[Cells, Tensor]]
Array = NDArray[np.float64]

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


def true_pose(offset: float = 0.0) -> Array:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('xyz', (100, 20, -35), degrees=True).as_matrix()
    pose[:3, 3] = np.array([1.5, -0.7, 1.2]) + offset
    return pose


def seen_points(
    camera: Camera, pose: Array, noise_m: float = 0.0, outliers: float = 0.0, seed: int = 0
) -> Array:
    """World points of all cells, (h, w, 3), at depths of one to four metres."""
    generator = np.random.default_rng(seed)
    rays = camera.rays(STRIDE).astype(np.float64)
    depth = generator.uniform(1.0, 4.0, size=rays.shape[:2])
    points = (depth[..., None] * rays) @ pose[:3, :3].T + pose[:3, 3]
    points += generator.normal(scale=noise_m, size=points.shape) if noise_m else 0.0
    wrong = generator.random(rays.shape[:2]) < outliers
    points[wrong] = pose[:3, 3] + generator.uniform(-5.0, 5.0, size=(wrong.sum(), 3))
    return points


def solved(points: Array, camera: Camera) -> Array | None:
    """The pose of points (h, w, 3)."""
    rays = camera.rays(STRIDE).reshape(-1, 3).astype(np.float64)
    points, seen = points.reshape(-1, 3), np.isfinite(rays).all(axis=-1)
    return solve_pnp(points[seen], rays[seen])


def translation_error_m(true: Array, found: Array | None) -> float:
    """Infinite where nothing was found."""
    return np.inf if found is None else float(np.linalg.norm(found[:3, 3] - true[:3, 3]))


def rotation_error_deg(true: Array, found: Array | None) -> float:
    """Infinite where nothing was found."""
    if found is None:
        return np.inf
    turned = Rotation.from_matrix(true[:3, :3].T @ found[:3, :3])
    return float(np.degrees(turned.magnitude()))


@pytest.mark.parametrize('camera', [PINHOLE, FISHEYE, PLUMB_BOB])
def test_the_pose_is_recovered_from_noisy_points_with_outliers(camera: Camera) -> None:
    pose = true_pose()
    found = solved(seen_points(camera, pose, noise_m=0.01, outliers=0.3), camera)
    assert translation_error_m(pose, found) < 0.01
    assert rotation_error_deg(pose, found) < 0.3


def test_many_noisy_points_average_out() -> None:
    # The noise of near points reaches the inlier threshold, so that the inliers of the first
    # hypothesis are a biased choice: refined only once, the mean error is 18 mm.
    pose = true_pose()
    errors_m = [
        translation_error_m(pose, solved(seen_points(PINHOLE, pose, 0.02, 0.2, seed), PINHOLE))
        for seed in range(10)
    ]
    assert np.mean(errors_m) < 0.01


def test_exact_points_give_the_exact_pose() -> None:
    pose = true_pose()
    found = solved(seen_points(PLUMB_BOB, pose), PLUMB_BOB)
    assert translation_error_m(pose, found) < 1e-5
    assert rotation_error_deg(pose, found) < 1e-3


def test_a_flat_wall_gives_a_pose() -> None:
    pose = true_pose()
    wall = 2.0 * PINHOLE.rays(STRIDE).astype(np.float64)
    found = solved(wall @ pose[:3, :3].T + pose[:3, 3], PINHOLE)
    assert translation_error_m(pose, found) < 1e-3


def test_a_map_far_from_its_origin_loses_no_precision() -> None:
    pose = true_pose(offset=500_000.0)
    points = seen_points(PINHOLE, true_pose()).astype(np.float64) + 500_000.0
    found = solved(points, PINHOLE)
    assert translation_error_m(pose, found) < 1e-3


def test_the_same_points_give_the_same_pose() -> None:
    points = seen_points(PINHOLE, true_pose(), noise_m=0.05, outliers=0.5)
    first = solved(points, PINHOLE)
    # What happened before must not matter: RANSAC does not draw from a shared generator.
    solved(seen_points(PINHOLE, true_pose(), outliers=0.3, seed=7), PINHOLE)
    np.testing.assert_array_equal(first, solved(points, PINHOLE))


def three_points() -> Array:
    return seen_points(PINHOLE, true_pose()).reshape(-1, 3)[:3]


def equal_points() -> Array:
    return np.full((1200, 3), 1.5)


def points_on_a_line() -> Array:
    return np.linspace(-2.0, 2.0, 1200)[:, None] * np.array([1.0, 2.0, 0.5])


@pytest.mark.parametrize('points', [three_points, equal_points, points_on_a_line])
def test_points_that_determine_no_pose_are_lost_without_an_exception(
    points: Callable[[], Array],
) -> None:
    rays = PINHOLE.rays(STRIDE).reshape(-1, 3).astype(np.float64)
    found = points()
    assert solve_pnp(found, rays[: len(found)]) is None


def test_points_without_any_geometry_never_give_a_pose_that_is_not_finite() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, size=(1200, 3))
    found = solved(points, PINHOLE)
    assert found is None or np.isfinite(found).all()


def test_points_behind_the_camera_are_no_pose() -> None:
    pose = true_pose()
    behind = -seen_points(PINHOLE, np.eye(4))
    found = solved(behind @ pose[:3, :3].T + pose[:3, 3], PINHOLE)
    assert found is None or rotation_error_deg(pose, found) > 90


@pytest.mark.parametrize('solver', [rigid_ransac, pnp_ransac])
def test_both_find_the_poses_of_a_batch_among_outliers(
    make_cells: MakeCells, solver: Callable[[Cells], Tensor]
) -> None:
    """Cells without weight are not looked at."""
    cells, pose = make_cells(1, batch=2, count=600, noise=0.01, outliers=0.4)
    cells.weights[:, :50] = 0
    cells.world_points[:, :50] = torch.nan
    found = solver(cells)
    for index in range(2):
        true = pose[index].numpy()
        assert translation_error_m(true, found[index].numpy()) < 0.02
        assert rotation_error_deg(true, found[index].numpy()) < 0.5


@pytest.mark.parametrize('solver', [rigid_ransac, pnp_ransac])
def test_cells_that_agree_on_nothing_are_refused(
    make_cells: MakeCells, solver: Callable[[Cells], Tensor]
) -> None:
    cells, _ = make_cells(2, count=20)
    generator = torch.Generator().manual_seed(0)
    scattered = torch.rand(cells.world_points.shape, generator=generator, dtype=torch.float64)
    cells.world_points[:] = 100 * scattered
    with pytest.raises(AlignmentError, match='RANSAC finds no pose on which 10 cells agree'):
        solver(cells)


def test_far_maps_lose_nothing_by_rigid_ransac(make_cells: MakeCells) -> None:
    cells, pose = make_cells(3, count=200, noise=0.0)
    cells.world_points[:] += 1e6
    found = rigid_ransac(cells)
    assert float((found[0, :3, 3] - pose[0, :3, 3] - 1e6).norm()) < 1e-6
