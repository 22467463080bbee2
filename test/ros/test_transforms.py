"""Matrices <-> messages, covariance of the base, and what may be published."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

import torch
from builtin_interfaces.msg import Time

from implicit_loc.errors import AlignmentError
from implicit_loc.poses import exp_so3
from implicit_loc_ros.transforms import (
    base_covariance,
    check_pose,
    inverse,
    matrix_from_pose,
    matrix_from_transform,
    pose_message,
    pose_with_covariance_stamped,
    quaternion_message,
    stamp_from_nanoseconds,
    stamp_to_nanoseconds,
    transform_stamped,
)


def rotation(vector: np.ndarray) -> np.ndarray:
    return exp_so3(torch.tensor(vector, dtype=torch.float64)).numpy()


def random_transform(generator: np.random.Generator) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(generator.normal(size=3))
    matrix[:3, 3] = generator.normal(size=3)
    return matrix


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-6, np.pi])
def test_a_transform_survives_the_message(angle: float) -> None:
    axis = np.array([1.0, -2.0, 0.5])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(angle * axis / np.linalg.norm(axis))
    matrix[:3, 3] = (1.0, 2.0, 3.0)
    message = transform_stamped(Time(), 'a', 'b', matrix)
    np.testing.assert_allclose(matrix_from_transform(message.transform), matrix, atol=1e-7)


def test_a_pose_survives_the_message() -> None:
    matrix = random_transform(np.random.default_rng(3))
    np.testing.assert_allclose(matrix_from_pose(pose_message(matrix)), matrix, atol=1e-12)


def test_quaternions_are_unit_even_if_the_matrix_is_not_quite_a_rotation() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        nearly = rotation(generator.normal(size=3)) + generator.normal(size=(3, 3)) * 1e-5
        q = quaternion_message(nearly)
        assert q.x**2 + q.y**2 + q.z**2 + q.w**2 == pytest.approx(1.0, abs=1e-12)
        assert q.w >= 0


def test_the_inverse_undoes() -> None:
    matrix = random_transform(np.random.default_rng(1))
    np.testing.assert_allclose(inverse(matrix) @ matrix, np.eye(4), atol=1e-12)


def test_stamps_survive() -> None:
    stamp = Time(sec=1_700_000_000, nanosec=999_999_999)
    assert stamp_from_nanoseconds(stamp_to_nanoseconds(stamp)) == stamp


def test_the_base_covariance_agrees_with_sampling() -> None:
    generator = np.random.default_rng(2)
    world_from_camera = random_transform(generator)
    camera_from_base = random_transform(generator)
    factor = generator.normal(size=(6, 6)) * 1e-3
    covariance = factor @ factor.T
    base = world_from_camera @ camera_from_base
    errors = []
    for sample in generator.multivariate_normal(np.zeros(6), covariance, size=4000):
        moved = world_from_camera.copy()
        moved[:3, 3] += sample[:3]
        moved[:3, :3] = rotation(sample[3:]) @ moved[:3, :3]
        errors.append([*((moved @ camera_from_base)[:3, 3] - base[:3, 3]), *sample[3:]])
    expected = np.cov(np.array(errors).T)
    found = base_covariance(covariance, world_from_camera, camera_from_base)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, expected, atol=0.08 * np.abs(expected).max())


def test_a_positive_definite_covariance_stays_so_far_from_the_camera() -> None:
    camera_from_base = np.eye(4)
    camera_from_base[:3, 3] = (30.0, -20.0, 5.0)
    covariance = np.diag([1e-6, 1e-4, 1e-2, 1e-7, 1e-5, 1e-3])
    check_pose(np.eye(4), base_covariance(covariance, np.eye(4), camera_from_base))


def test_without_a_lever_arm_the_covariance_stays() -> None:
    turned = np.eye(4)
    turned[:3, :3] = rotation(np.array([0.3, 0.2, 0.1]))
    covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    np.testing.assert_allclose(base_covariance(covariance, turned, turned), covariance)


def test_the_covariance_is_written_row_by_row() -> None:
    covariance = np.arange(36.0).reshape(6, 6)
    message = pose_with_covariance_stamped(Time(), 'map', np.eye(4), covariance)
    assert list(message.pose.covariance) == list(range(36))


def broken(row: int, column: int, value: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ('pose', 'covariance'),
    [
        (broken(0, 3, np.nan), np.eye(6)),
        (broken(1, 3, np.inf), np.eye(6)),
        (broken(0, 0, -1.0), np.eye(6)),
        (broken(0, 0, 1.1), np.eye(6)),
        (np.eye(4), np.zeros((6, 6))),
        (np.eye(4), np.full((6, 6), np.nan)),
        (np.eye(4), np.diag([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])),
        (np.eye(4), np.diag([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])),
        (np.eye(4), np.eye(6) + np.diag(np.ones(5), 1)),
        # A correlation of more than 1, though every variance is positive.
        (np.eye(4), np.eye(6) + 1.1 * (np.eye(6, k=1) + np.eye(6, k=-1))),
        (np.eye(4), np.full((6, 6), 1e308)),
    ],
)
def test_no_robot_receives_such_a_pose(pose: np.ndarray, covariance: np.ndarray) -> None:
    with pytest.raises(AlignmentError):
        check_pose(pose, covariance)
