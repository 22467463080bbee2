"""Figures of honesty: known where the covariance is right, and telling where it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.evaluation.trust import (
    auroc,
    coverage,
    is_correct,
    normalised_squares,
    pose_errors,
    reliability,
    summarize_trust,
)


def random_poses(count, seed=0, offset=0.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    poses[:, :3, 3] = offset + np.random.default_rng(seed).normal(size=(count, 3))
    return poses


def drawn(count, seed=0):
    """Errors drawn from covariances of many shapes: (N, 6), (N, 6, 6)."""
    generator = np.random.default_rng(seed)
    roots = generator.normal(size=(count, 6, 6)) * np.repeat([0.05, 0.002], 3)[:, None]
    errors = (roots @ generator.normal(size=(count, 6, 1)))[..., 0]
    return errors, roots @ np.swapaxes(roots, 1, 2)


@given(st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6), st.integers(0, 99))
@settings(deadline=None)
def test_an_error_is_found_in_the_axes_of_the_world(error, seed):
    true = random_poses(1, seed, offset=5e5)[0]
    estimated = true.copy()
    estimated[:3, :3] = Rotation.from_rotvec(error[3:]).as_matrix() @ true[:3, :3]
    estimated[:3, 3] += error[:3]
    np.testing.assert_allclose(pose_errors(true, estimated), error, atol=1e-9)


def test_the_lengths_of_errors_are_those_of_the_metrics():
    true, estimated = random_poses(50, 1), random_poses(50, 2)
    errors = pose_errors(true, estimated)
    np.testing.assert_allclose(
        np.linalg.norm(errors[:, :3], axis=1), translation_error_m(true, estimated)
    )
    np.testing.assert_allclose(
        np.degrees(np.linalg.norm(errors[:, 3:], axis=1)), rotation_error_deg(true, estimated)
    )


def test_errors_drawn_from_their_covariance_have_its_nees_and_coverage():
    errors, covariances = drawn(20_000)
    assert normalised_squares(errors, covariances).mean() == pytest.approx(6.0, abs=0.1)
    position, rotation = np.s_[:3], np.s_[3:]
    assert coverage(errors[:, position], covariances[:, position, position]) == pytest.approx(
        0.9, abs=0.01
    )
    assert coverage(errors[:, rotation], covariances[:, rotation, rotation]) == pytest.approx(
        0.9, abs=0.01
    )


@given(st.floats(0.2, 5.0))
@settings(deadline=None, max_examples=20)
def test_nees_tells_by_how_much_deviations_are_too_small(factor):
    errors, covariances = drawn(50)
    honest = normalised_squares(errors, covariances)
    np.testing.assert_allclose(
        normalised_squares(errors, covariances / factor**2), factor**2 * honest, rtol=1e-6
    )


@pytest.mark.parametrize(
    'covariance',
    [
        np.zeros((6, 6)),
        -np.eye(6),
        np.full((6, 6), np.nan),
        np.diag([1.0, 1, 1, 1, 1, 0]),
        np.diag([1.0, 1, 1, 1, 1, -1]),
        np.ones((6, 6)),
        np.full((6, 6), np.inf),
    ],
)
def test_a_covariance_that_is_none_makes_the_nees_infinite(covariance):
    lengths = normalised_squares(np.full((2, 6), 0.1), np.stack([covariance, np.eye(6)]))
    assert lengths[0] == np.inf
    assert lengths[1] == pytest.approx(0.06)


def test_a_tiny_covariance_keeps_its_digits():
    covariance = np.diag([1e-4, 1e-4, 1e-4, 1e-14, 1e-14, 1e-14])
    error = np.repeat([1e-2, 1e-7], 3)
    assert normalised_squares(error[None], covariance[None])[0] == pytest.approx(6.0)


def test_only_accepted_poses_are_asked_for_the_truth():
    errors, covariances = drawn(4)
    errors[2:] += 10.0
    found = summarize_trust(errors, covariances, np.array([0.9, 0.5, 0.4, 0.0]), 0.5, frames=8)
    assert found.accepted == 0.25
    assert found.accepted_within_25cm_10deg == is_correct(errors[:2]).mean()
    assert found.nees_mean == normalised_squares(errors[:2], covariances[:2]).mean()


def test_without_an_accepted_pose_nothing_is_known():
    for count in (0, 3):
        errors, covariances = drawn(count)
        found = summarize_trust(errors, covariances, np.zeros(count), 0.5, frames=5)
        assert found.accepted == 0.0
        assert found.as_json()['nees_mean'] is None
        assert found.as_json()['accepted_within_25cm_10deg'] is None


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=12),
    st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=1, max_size=12),
)
def test_auroc_is_the_chance_to_rank_a_pair_rightly(known, foreign):
    pairs = [(a > b) + 0.5 * (a == b) for a in known for b in foreign]
    assert auroc(known, foreign) == pytest.approx(np.mean(pairs))


def test_auroc_of_nothing_is_not_known():
    assert np.isnan(auroc([], [0.1]))
    assert np.isnan(auroc([0.1], []))


def test_reliability_counts_every_frame_once():
    generator = np.random.default_rng(0)
    confidences = np.concatenate([generator.uniform(size=5000), [0.0, 1.0]])
    correct = generator.uniform(size=len(confidences)) < confidences
    bins = reliability(confidences, correct)
    assert bins.frames.sum() == len(confidences)
    assert (bins.frames * bins.correct).sum() == pytest.approx(correct.sum())
    np.testing.assert_allclose(bins.correct, bins.confidence, atol=0.1)


def test_empty_bins_are_left_out():
    bins = reliability(np.array([0.31, 0.33, 0.95]), np.array([True, False, True]))
    np.testing.assert_allclose(bins.confidence, [0.32, 0.95])
    np.testing.assert_allclose(bins.correct, [0.5, 1.0])
