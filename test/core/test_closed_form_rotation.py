"""The closed form of the rotation, which inference takes, against the SVD: hard problems too."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

pytest.importorskip('scipy', reason='scipy is not installed')

from scipy.spatial.transform import Rotation

from implicit_loc.alignment import align, closed_form_rotation

# Of the gap of the quaternion matrix: below it, which rotation fits best is a matter of rounding.
# `implicit_loc.cells.usable_cells` asks for a hundred times as much.
DETERMINED = 1e-8


class _Svd(NamedTuple):
    """Alignment in float64 as the textbook has it, of many problems.

    Attributes:
        rotation: (B, 3, 3).
        translation: (B, 3).
        covariance: M, (B, 3, 3).
        best: largest tr(R^T M), (B,).
        gap: how much the second-best axis loses, (s2 + det s3) / s1 of M, (B,).
    """

    rotation: np.ndarray
    translation: np.ndarray
    covariance: np.ndarray
    best: np.ndarray
    gap: np.ndarray


def _by_svd(world: np.ndarray, camera: np.ndarray, weights: np.ndarray) -> _Svd:
    shares = (weights / weights.sum(axis=1, keepdims=True))[:, None]
    world_mean, camera_mean = shares @ world, shares @ camera
    covariance = (shares * (world - world_mean).swapaxes(1, 2)) @ (camera - camera_mean)
    left, values, right = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(left @ right))
    values[:, 2] *= sign
    left[:, :, 2] *= sign[:, None]
    rotation = left @ right
    translation = (world_mean - camera_mean @ rotation.swapaxes(1, 2))[:, 0]
    gap = (values[:, 1] + values[:, 2]) / values[:, 0]
    return _Svd(rotation, translation, covariance, values.sum(axis=1), gap)


def _hard_problems(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """World points, camera points and weights of clouds of four points, float64.

    A third has noise of any size, a third lies ever nearer to a line, and of a third the world is
    mirrored; sizes span millimetres to kilometres.
    """
    kind = rng.integers(0, 3, count)
    thickness = np.where(kind == 1, 10 ** rng.uniform(-6, 0, count), 1.0)
    noise = np.where(kind == 1, 1e-2 * thickness, 10 ** rng.uniform(-6, 1, count))
    camera = rng.normal(size=(count, 4, 3))
    camera[:, :, 1:] *= thickness[:, None, None]
    world = camera @ Rotation.random(count, random_state=rng.integers(2**31)).as_matrix()
    world += noise[:, None, None] * rng.normal(size=world.shape)
    world[kind == 2, :, 0] *= -1
    size = 10 ** rng.uniform(-3, 3, (count, 1, 1))
    clouds = [size * (cloud + 3 * rng.normal(size=(count, 1, 3))) for cloud in (world, camera)]
    return [*clouds, rng.uniform(0.01, 1, (count, 4))]


def test_a_million_problems_agree_with_svd_in_float64() -> None:
    """To 1e-4 degrees and 1e-5 of the distances; every other one is given in float32.

    Where the two best rotations are nearer than `DETERMINED`, either may be right: then it is the
    cost that agrees.
    """
    rng = np.random.default_rng(0)
    undetermined = 0
    for chunk in range(20):
        dtype = (np.float64, np.float32)[chunk % 2]
        arrays = [array.astype(dtype) for array in _hard_problems(rng, 50_000)]
        expected = _by_svd(*(array.astype(np.float64) for array in arrays))
        found = align(*map(torch.from_numpy, arrays)).numpy().astype(np.float64)
        rotation, translation = found[:, :3, :3], found[:, :3, 3]
        chords = np.linalg.norm(rotation - expected.rotation, axis=(1, 2)) / 8**0.5
        degrees = np.degrees(2 * np.arcsin(np.minimum(chords, 1)))
        distances = sum(np.abs(points).max(axis=(1, 2)) for points in arrays[:2])
        shifts = np.abs(translation - expected.translation).max(axis=1) / distances
        determined = expected.gap > DETERMINED
        assert degrees[determined].max() < 1e-4
        assert shifts[determined].max() < 1e-5
        reached = np.einsum('bij,bij->b', rotation, expected.covariance)
        rounding = 10 * np.finfo(dtype).eps
        np.testing.assert_allclose(reached, expected.best, rtol=DETERMINED + rounding)
        undetermined += np.count_nonzero(~determined)
    assert 10_000 < undetermined < 200_000


@pytest.mark.parametrize('gap', [1e-2, 1e-4, 1e-6])
def test_rounding_turns_the_closed_form_no_further_than_the_gap_lets_it(gap: float) -> None:
    """Along a line as well as between mirrored clouds, whose singular values nearly cancel."""
    rotations = Rotation.random(2000, random_state=0).as_matrix()
    left, right = rotations[:1000], rotations[1000:]
    for values in ((1.0, gap, 0.0), (1.0, 1.0, gap - 1.0), (1.0, 0.5, gap - 0.5)):
        matrix = (left * values) @ right
        found = closed_form_rotation(matrix)
        chords = np.linalg.norm(found - left @ right, axis=(1, 2))
        assert chords.max() < 1e-14 / gap


def test_a_matrix_without_a_closed_form_rotation() -> None:
    """Zeros give the identity, points on a line some rotation; NaN spoils nothing else."""
    matrices = np.zeros((5, 3, 3))
    matrices[1, 0, 0] = 1e-200
    matrices[2] = -np.eye(3)
    matrices[3, 1, 2] = np.nan
    matrices[4] = 1e200 * np.eye(3)
    for form in (matrices, torch.from_numpy(matrices)):
        with np.errstate(all='ignore'):
            found = np.asarray(closed_form_rotation(form))
        np.testing.assert_array_equal(found[0], np.eye(3))
        assert np.isnan(found[3]).all()
        for rotation in found[:3]:
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
            assert np.linalg.det(rotation) > 0
