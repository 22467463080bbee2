"""Errors of poses and their summary, also against published estimates."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.datasets.parsing import read_world_to_camera
from implicit_loc_trainer.evaluation.metrics import (
    quantile,
    rotation_error_deg,
    summarize,
    translation_error_m,
)

REFERENCE = Path(__file__).parents[4] / 'shared' / 'reference' / '7scenes_estimates'


def published(file):
    listed = read_world_to_camera(REFERENCE / file)
    return {name: line.world_from_camera for name, line in listed.items()}


def random_poses(count, seed=0):
    generator = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = generator.normal(size=(count, 3))
    return poses


@pytest.mark.parametrize(
    ('scene', 'method', 'frames', 'median_cm', 'median_deg', 'recall_percent'),
    [
        ('chess', 'dsacstar', 2000, '1.826', '0.5864', '97.80'),
        ('chess', 'hloc', 2000, '2.400', '0.7746', '94.15'),
        ('stairs', 'dsacstar', 1000, '3.515', '0.9308', '78.00'),
        ('stairs', 'hloc', 1000, '5.053', '1.4560', '49.40'),
    ],
)
def test_published_estimates_give_their_known_figures(
    scene, method, frames, median_cm, median_deg, recall_percent
):
    if not REFERENCE.is_dir():
        pytest.skip(f'the published estimates are not at {REFERENCE}')
    true = published(f'{scene}_dslam_truth.txt')
    estimated = published(f'{scene}_dslam_{method}.txt')
    nothing = np.full((4, 4), np.inf)
    true_poses = np.array(list(true.values()))
    poses = np.array([estimated.get(name, nothing) for name in true])
    found = np.isfinite(poses).all(axis=(1, 2))
    translation, rotation = np.full((2, len(true)), np.inf)
    translation[found] = translation_error_m(true_poses[found], poses[found])
    rotation[found] = rotation_error_deg(true_poses[found], poses[found])

    summary = summarize(translation, rotation)

    assert summary.frames == frames
    assert f'{100 * summary.median_translation_m:.3f}' == median_cm
    assert f'{summary.median_rotation_deg:.4f}' == median_deg
    assert f'{100 * summary.recall_5cm_5deg:.2f}' == recall_percent


def test_identical_poses_have_no_error():
    poses = random_poses(50)
    assert translation_error_m(poses, poses).max() == 0.0
    assert rotation_error_deg(poses, poses).max() < 1e-13


def test_errors_do_not_depend_on_which_pose_is_the_true_one():
    first, second = random_poses(50, seed=1), random_poses(50, seed=2)
    np.testing.assert_allclose(
        translation_error_m(first, second), translation_error_m(second, first)
    )
    np.testing.assert_allclose(
        rotation_error_deg(first, second), rotation_error_deg(second, first)
    )


def test_errors_do_not_depend_on_the_choice_of_the_world():
    first, second, world = random_poses(50, seed=1), random_poses(50, seed=2), random_poses(1)
    np.testing.assert_allclose(
        translation_error_m(world @ first, world @ second), translation_error_m(first, second)
    )
    np.testing.assert_allclose(
        rotation_error_deg(world @ first, world @ second), rotation_error_deg(first, second)
    )


@pytest.mark.parametrize('degrees', [1e-9, 1e-4, 1.0, 90.0, 179.999, 180.0])
def test_rotation_error_is_the_angle_at_every_size(degrees):
    true, estimated = random_poses(1)[0], random_poses(1)[0]
    axis = np.array([0.6, 0.0, 0.8])
    estimated[:3, :3] = true[:3, :3] @ Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    assert rotation_error_deg(true, estimated) == pytest.approx(degrees, rel=1e-6, abs=1e-12)


def test_quantiles_agree_with_numpy_where_all_is_finite():
    errors = np.random.default_rng(0).exponential(size=37)
    for fraction in (0.0, 0.25, 0.5, 0.95, 1.0):
        assert quantile(errors, fraction) == pytest.approx(np.quantile(errors, fraction))


def test_quantiles_of_lost_frames_are_infinite_and_never_nan():
    half_lost = np.array([0.01, 0.02, np.inf, np.inf])
    assert quantile(half_lost, 0.0) == 0.01
    assert quantile(half_lost, 0.5) == np.inf
    assert quantile(half_lost, 1.0) == np.inf
    assert quantile(np.array([1.0, 2.0, np.inf]), 0.5) == 2.0


def test_lost_frames_count_in_every_figure():
    summary = summarize(np.array([0.01, np.inf, 0.2, np.nan]), np.array([1.0, np.inf, 1.0, 1.0]))
    assert (summary.frames, summary.lost) == (4, 2)
    assert summary.recall_5cm_5deg == 0.25
    assert summary.recall_10cm_5deg == 0.25
    assert summary.recall_25cm_10deg == 0.5
    assert summary.mean_translation_m == np.inf
    assert summary.p95_translation_m == np.inf


def test_a_frame_counts_for_a_recall_only_if_both_errors_are_within():
    summary = summarize(np.array([0.05, 0.01, 0.30]), np.array([5.0, 6.0, 1.0]))
    assert summary.recall_5cm_5deg == pytest.approx(1 / 3)
    assert summary.recall_25cm_10deg == pytest.approx(2 / 3)


def test_json_figures_hold_null_instead_of_infinity():
    summary = summarize(np.array([0.01, np.inf, np.inf]), np.array([1.0, np.inf, np.inf]))
    figures = json.loads(json.dumps(summary.as_json(), allow_nan=False))
    assert figures['median_translation_m'] is None
    assert figures['lost'] == 2


@pytest.mark.parametrize('lengths', [(0, 0), (2, 3)])
def test_errors_that_cannot_be_summed_up_are_refused(lengths):
    with pytest.raises(ValueError, match=r'no frames|one length'):
        summarize(np.zeros(lengths[0]), np.zeros(lengths[1]))
