"""An assessment says how good a pose is, and never breaks on what it is given."""

import dataclasses
import math

import numpy as np
import pytest
import torch

pytest.importorskip('scipy', reason='scipy is not installed')
pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from implicit_loc import uncertainty
from implicit_loc.alignment import align
from implicit_loc.calibration import Calibration
from implicit_loc.camera import Camera
from implicit_loc.cells import Cells
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.network import NetworkConfig
from implicit_loc.solvers import Solution

FOCAL_LENGTH = 262.0


TURN = Rotation.from_rotvec([0.4, -1.0, 0.3])

# Trained at two places: where the scene below is seen from, and far off.
DESCRIPTION = CheckpointDescription(
    network=NetworkConfig(),
    input_height=240,
    training_camera=Camera(320, 240, FOCAL_LENGTH, FOCAL_LENGTH, 159.5, 119.5),
    dataset='made-up',
    dataset_fingerprint='',
    extent=((0.0, 0.0, 0.0), (2.0, 3.0, 4.0)),
    keyframes=((1.0, 2.0, 3.1, *TURN.as_quat()), (9.0, 9.0, 9.0, *TURN.as_quat())),
)


def _scene(noise: float, seed: int = 0, count: int = 1200) -> tuple[Cells, torch.Tensor]:
    rng = np.random.default_rng(seed)
    rays = np.concatenate([rng.uniform(-0.6, 0.6, (count, 2)), np.ones((count, 1))], axis=1)
    camera = rays * rng.uniform(1, 4, (count, 1))
    pose = np.eye(4)
    pose[:3, :3] = TURN.as_matrix()
    pose[:3, 3] = (1, 2, 3)
    world = camera @ pose[:3, :3].T + pose[:3, 3] + noise * rng.normal(size=(count, 3))
    cells = Cells(
        *(torch.from_numpy(values)[None] for values in (world, camera, rays)),
        weights=torch.ones(1, count).double(),
        focal_length=torch.tensor([FOCAL_LENGTH]).double(),
    )
    return cells, torch.from_numpy(pose)[None]


def _assess(
    cells: Cells, pose: torch.Tensor, description: CheckpointDescription
) -> uncertainty.Assessment:
    return uncertainty.assess(_solution(cells, pose, pose), description)


def _solution(cells: Cells, pose: torch.Tensor, first: torch.Tensor) -> Solution:
    return Solution(pose, first, torch.zeros(1, dtype=torch.bool), cells, {})


def test_statistics_of_known_noise() -> None:
    noisy = _assess(*_scene(0.05), DESCRIPTION)
    assert noisy.residuals.cells == 1200
    assert noisy.residuals.alignment_rms_m == pytest.approx(0.05 * np.sqrt(3), rel=0.05)
    assert noisy.residuals.inlier_ratio > 0.9
    perfect = _assess(*_scene(0.0), DESCRIPTION)
    assert perfect.residuals.inlier_ratio == pytest.approx(1.0)
    assert perfect.residuals.reprojection_median_px < 1e-6
    assert perfect.evidence.inlier_ratio == pytest.approx(1.0)


def test_confidence_falls_with_the_noise() -> None:
    values = []
    for noise in (0.0, 0.1, 0.3, 1.0, 10.0):
        cells, _ = _scene(noise)
        pose = align(cells.world_points, cells.camera_points, cells.weights)
        values.append(_assess(cells, pose, DESCRIPTION).confidence)
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.95
    assert 0 <= values[-1] < 0.05


def test_points_behind_the_camera_do_not_spoil_the_statistics() -> None:
    cells, pose = _scene(0.0)
    cells.world_points[0, :100] = pose[0, :3, 3] - pose[0, :3, 2]
    found = _assess(cells, pose, DESCRIPTION)
    assert math.isfinite(found.residuals.reprojection_median_px)
    assert found.residuals.inlier_ratio == pytest.approx(1100 / 1200)
    assert found.evidence.inlier_ratio == pytest.approx(1100 / 1200)


def test_evidence_knows_where_the_training_was() -> None:
    cells, pose = _scene(0.0)
    here = _assess(cells, pose, DESCRIPTION).evidence
    assert (here.keyframe_m, here.keyframe_rad, here.outside_m) == pytest.approx(
        (0.1, 0.0, 0.0), abs=1e-4
    )
    away = pose.clone()
    away[0, 0, 3] = -3.0
    there = _assess(cells, away, DESCRIPTION).evidence
    assert there.keyframe_m == pytest.approx(math.hypot(4.0, 0.1), abs=1e-4)
    assert there.outside_m == pytest.approx(3.0)
    without = dataclasses.replace(DESCRIPTION, keyframes=())
    assert _assess(cells, pose, without).evidence.keyframe_m == 0


def test_evidence_tells_how_far_the_refinement_went() -> None:
    cells, pose = _scene(0.0)
    first = pose.clone()
    first[0, :3, 3] += torch.tensor([0.0, 0.3, -0.4])
    turn = torch.from_numpy(Rotation.from_rotvec([0.0, 0.2, 0.0]).as_matrix())
    first[0, :3, :3] = turn @ first[0, :3, :3]
    found = uncertainty.assess(_solution(cells, pose, first), DESCRIPTION).evidence
    assert found.moved_m == pytest.approx(0.5)
    assert found.turned_rad == pytest.approx(0.2)


def test_the_checkpoints_calibration_is_used() -> None:
    cells, pose = _scene(0.2)
    sure, unsure = (
        _assess(cells, pose, dataclasses.replace(DESCRIPTION, calibration=calibration))
        for calibration in (_of_cells(1.0), _of_cells(20.0))
    )
    assert unsure.evidence.deviation_m > 5 * sure.evidence.deviation_m
    assert unsure.confidence < sure.confidence


def _of_cells(factor: float) -> Calibration:
    """Other than that of poses on landmarks, which these are not."""
    return Calibration(cells_translation_factor=factor, cells_rotation_factor=factor)


def test_float32_is_enough() -> None:
    cells, pose = _scene(0.1)
    exact = _assess(cells, pose, DESCRIPTION)
    rough = _assess(cells.map(lambda values: values.float()), pose.float(), DESCRIPTION)
    np.testing.assert_allclose(rough.covariance, exact.covariance, rtol=1e-2, atol=1e-8)
    assert rough.confidence == pytest.approx(exact.confidence, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(['as it is', 'nan', 'inf', 'huge', 'behind', 'point', 'nothing']),
    spoiled=st.sampled_from(['world_points', 'camera_points', 'rays', 'weights']),
    share=st.sampled_from([0.01, 0.6, 1.0]),
    count=st.sampled_from([1, 2, 30, 300]),
    seed=st.integers(0, 1000),
)
def test_an_assessment_is_finite_whatever_the_cells_hold(
    kind: str, spoiled: str, share: float, count: int, seed: int
) -> None:
    cells, pose = _scene(0.1, seed, count)
    values = getattr(cells, spoiled)
    chosen = torch.from_numpy(np.random.default_rng(seed).uniform(size=count) < share)
    fill = {'nan': math.nan, 'inf': math.inf, 'huge': 1e300, 'behind': -5.0, 'point': 1.0}
    if kind == 'nothing':
        cells.weights[:] = 0
    elif kind in fill:
        values[0, chosen] = fill[kind]
    found = _assess(cells, pose, DESCRIPTION)
    assert np.isfinite(found.covariance).all()
    np.testing.assert_array_equal(found.covariance, found.covariance.T)
    np.linalg.cholesky(found.covariance)
    assert 0 <= found.confidence <= 1
    assert all(map(math.isfinite, dataclasses.astuple(found.evidence)))
    if kind == 'nothing':
        assert found.confidence < 0.01
        assert found.evidence.deviation_m > 100
