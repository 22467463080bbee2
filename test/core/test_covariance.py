"""The covariance is of the errors that poses really have, and sane whatever the cells hold."""

import numpy as np
import pytest
import torch

pytest.importorskip('scipy', reason='scipy is not installed')
pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from implicit_loc.calibration import Calibration
from implicit_loc.cells import Cells
from implicit_loc.covariance import (
    FLOOR_ROTATION_RAD,
    FLOOR_TRANSLATION_M,
    LARGEST_ROTATION_RAD,
    LARGEST_TRANSLATION_M,
    calibrated,
    pose_covariance,
    uncalibrated,
)
from implicit_loc.refinement import refine

ROWS, COLUMNS, FOCAL_LENGTH = 30, 40, 262.0
UNSCALED = (1.0, 1.0)
USUAL = Calibration().factors(on_landmarks=False)


def _pose() -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.4, -1.0, 0.3]).as_matrix()
    pose[:3, 3] = (1, 2, 3)
    return pose


def _cells(errors: np.ndarray, seed: int = 0) -> tuple[Cells, torch.Tensor]:
    """A wavy wall seen from a pose; world points off by errors (N, 3) in the camera's axes."""
    y, x = np.mgrid[:ROWS, :COLUMNS].reshape(2, -1)
    rays = np.stack([(x - 19.5) / 32, (y - 14.5) / 32, np.ones(x.size)], axis=-1)
    depth = np.random.default_rng(seed).uniform(1.5, 3.5, (x.size, 1))
    pose = _pose()
    world = (rays * depth + errors) @ pose[:3, :3].T + pose[:3, 3]
    tensors = (torch.from_numpy(values)[None] for values in (world, rays * depth, rays))
    world_points, camera_points, seen_rays = tensors
    weights, focal = torch.ones(1, x.size).double(), torch.tensor([FOCAL_LENGTH]).double()
    cells = Cells(world_points, camera_points, seen_rays, weights, focal)
    return cells, torch.from_numpy(pose)[None]


def _patched(rng: np.random.Generator, size: int, deviation: float) -> np.ndarray:
    """Errors that patches of size x size cells share."""
    coarse = rng.normal(size=(-(-ROWS // size), -(-COLUMNS // size), 3))
    fine = coarse.repeat(size, axis=0).repeat(size, axis=1)[:ROWS, :COLUMNS]
    return deviation * fine.reshape(-1, 3)


@pytest.mark.parametrize('patch', [1, 3, 5])
def test_the_covariance_is_that_of_the_errors_of_poses(patch: int) -> None:
    """However many cells share their errors: nothing but the residuals says so.

    A factor of two in the variance is what calibration is for.
    """
    rng = np.random.default_rng(patch)
    squares = []
    for _ in range(60):
        cells, truth = _cells(_patched(rng, patch, 0.05))
        found = refine(truth, cells).world_from_camera
        covariance = pose_covariance(cells, found, UNSCALED)
        turned = (found[0, :3, :3] @ truth[0, :3, :3].T).numpy()
        error = [
            *(found - truth)[0, :3, 3].tolist(),
            *Rotation.from_matrix(turned).as_rotvec().tolist(),
        ]
        squares.append(error @ np.linalg.solve(covariance, error))
    # Chi-square of 6 degrees of freedom has mean 6.
    assert 3 < np.mean(squares) < 15


def test_a_covariance_is_symmetric_and_has_a_floor() -> None:
    """robot_localization takes a zero covariance as absolute trust."""
    covariance = pose_covariance(*_cells(np.zeros((ROWS * COLUMNS, 3))), UNSCALED)
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.sqrt(np.diag(covariance)[:3]).min() >= FLOOR_TRANSLATION_M
    assert np.sqrt(np.diag(covariance)[3:]).min() >= FLOOR_ROTATION_RAD
    assert np.sqrt(np.diag(covariance)).max() < 0.01


def test_cells_without_weight_have_no_say() -> None:
    """Landmarks that were not found all look along the axis; the regions must not be theirs."""
    rng = np.random.default_rng(3)
    cells, pose = _cells(_patched(rng, 5, 0.02))
    axis = torch.tensor([0.0, 0.0, 1.0]).double().expand(1, 900, 3)
    joined = Cells(
        torch.cat([cells.world_points, axis], dim=1),
        torch.cat([cells.camera_points, axis], dim=1),
        torch.cat([cells.rays, axis], dim=1),
        torch.cat([cells.weights, torch.zeros(1, 900).double()], dim=1),
        cells.focal_length,
    )
    np.testing.assert_array_equal(
        pose_covariance(joined, pose, UNSCALED), pose_covariance(cells, pose, UNSCALED)
    )


def test_the_covariance_turns_with_the_world() -> None:
    """The same cells in a world that is turned and far away, as in UTM coordinates."""
    cells, pose = _cells(_patched(np.random.default_rng(0), 5, 0.05))
    here = pose_covariance(cells, pose, UNSCALED)
    turn = torch.eye(4).double()
    turn[:3, :3] = torch.from_numpy(Rotation.from_rotvec([1.0, 2.0, -0.5]).as_matrix())
    turn[:3, 3] = torch.tensor([4e5, 5e6, 300.0])
    moved = cells.world_points @ turn[:3, :3].T + turn[:3, 3]
    there = pose_covariance(
        Cells(moved, cells.camera_points, cells.rays, cells.weights, cells.focal_length),
        turn @ pose,
        UNSCALED,
    )
    both = np.kron(np.eye(2), turn[:3, :3].numpy())
    np.testing.assert_allclose(there, both @ here @ both.T, rtol=1e-3, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(['noise', 'point', 'line', 'plane', 'behind', 'one cell', 'huge']),
    weights=st.sampled_from(['ones', 'zeros', 'one', 'tiny', 'random']),
    scale=st.sampled_from([1e-8, 1e-3, 1.0, 1e4]),
    count=st.sampled_from([1, 3, 47, 300]),
    seed=st.integers(0, 1000),
)
def test_a_covariance_is_positive_definite_whatever_the_cells_hold(
    kind: str, weights: str, scale: float, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = scale * rng.normal(size=(count, 3))
    if kind == 'point':
        points[:] = points[0]
    if kind == 'line':
        points = scale * rng.normal(size=(count, 1)) * rng.normal(size=3)
    if kind == 'plane':
        points[:, 2] = 1.0
    if kind == 'behind':
        points[:, 2] = -np.abs(points[:, 2])
    if kind == 'huge':
        points *= 1e8
    values = {
        'ones': np.ones(count),
        'zeros': np.zeros(count),
        'one': np.eye(1, count)[0],
        'tiny': np.full(count, 1e-300),
        'random': rng.uniform(size=count),
    }[weights]
    rays = np.concatenate([rng.uniform(-1, 1, (count, 2)), np.ones((count, 1))], axis=1)
    cells = Cells(
        torch.from_numpy(points)[None],
        torch.from_numpy(rays * rng.uniform(0.1, 9, (count, 1)))[None],
        torch.from_numpy(rays)[None],
        torch.from_numpy(values)[None],
        torch.tensor([FOCAL_LENGTH]).double(),
    )
    covariance = pose_covariance(cells, torch.eye(4)[None].double(), USUAL)
    assert np.isfinite(covariance).all()
    np.testing.assert_array_equal(covariance, covariance.T)
    np.linalg.cholesky(covariance)
    deviations = np.sqrt(np.diag(covariance))
    assert deviations[:3].max() <= 1.001 * LARGEST_TRANSLATION_M
    assert deviations[3:].max() <= 1.001 * LARGEST_ROTATION_RAD


@pytest.mark.parametrize('count', [1, 2])
def test_cells_that_do_not_fix_a_rotation_leave_it_open(count: int) -> None:
    """Even where they agree with it perfectly."""
    cells, pose = _cells(np.zeros((ROWS * COLUMNS, 3)))
    weights = torch.zeros_like(cells.weights)
    weights[0, 7 : 7 + count] = 1
    sparse = Cells(
        cells.world_points, cells.camera_points, cells.rays, weights, cells.focal_length
    )
    covariance = pose_covariance(sparse, pose, UNSCALED)
    assert np.sqrt(np.linalg.eigvalsh(covariance[3:, 3:])[-1]) > 1


def test_calibration_scales_what_the_cells_tell_and_can_be_undone() -> None:
    cells, pose = _cells(_patched(np.random.default_rng(1), 5, 0.2))
    raw = uncalibrated(pose_covariance(cells, pose, UNSCALED), UNSCALED)
    factors = (3.0, 0.5)
    scaled = calibrated(raw, factors)
    np.testing.assert_allclose(
        scaled, pose_covariance(cells, pose, factors), rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(uncalibrated(scaled, factors), raw, rtol=1e-6, atol=1e-12)
    floor = np.repeat([FLOOR_TRANSLATION_M**2, FLOOR_ROTATION_RAD**2], 3)
    ratio = (np.diag(scaled) - floor) / np.diag(raw)
    np.testing.assert_allclose(ratio, [9, 9, 9, 0.25, 0.25, 0.25], rtol=1e-6)
