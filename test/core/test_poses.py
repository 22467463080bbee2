"""Rotation and rigid-transform algebra against SciPy, and its gradients."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip('scipy', reason='scipy is not installed')

from scipy.spatial.transform import Rotation

from implicit_loc import poses


def _rotations(count: int = 64, seed: int = 0) -> Rotation:
    return Rotation.random(count, random_state=seed)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float64))


def test_quaternions_agree_with_scipy() -> None:
    """Both ways, also for half turns, where the real part is zero."""
    half_turns = Rotation.from_rotvec(np.pi * np.eye(3))
    rotations = Rotation.concatenate([_rotations(), half_turns, Rotation.identity(1)])
    matrices = poses.quaternion_to_matrix(_tensor(rotations.as_quat()))
    np.testing.assert_allclose(matrices, rotations.as_matrix(), atol=1e-12)
    quaternions = poses.matrix_to_quaternion(_tensor(rotations.as_matrix()))
    again = Rotation.from_quat(quaternions.numpy())
    assert (again * rotations.inv()).magnitude().max() < 1e-7
    assert (quaternions[:, 3] >= 0).all()
    np.testing.assert_allclose(quaternions.norm(dim=-1), 1, atol=1e-12)


def test_exp_and_log_agree_with_scipy() -> None:
    """Rotation vectors of any length up to half a turn, and tiny ones."""
    vectors = np.concatenate([_rotations().as_rotvec(), 1e-9 * np.eye(3), np.zeros((1, 3))])
    matrices = poses.exp_so3(_tensor(vectors))
    np.testing.assert_allclose(matrices, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(poses.log_so3(matrices), vectors, atol=1e-7)


def test_se3_exp_inverts_log() -> None:
    """Twists of many sizes come back."""
    rng = np.random.default_rng(0)
    twists = rng.normal(size=(100, 6)) * 10.0 ** rng.uniform(-8, 0, (100, 1))
    np.testing.assert_allclose(poses.log_se3(poses.exp_se3(_tensor(twists))), twists, atol=1e-9)


@pytest.mark.parametrize('batch', [(), (3,), (2, 3)])
def test_rigid_transforms_are_the_same_in_both_libraries(batch: tuple[int, ...]) -> None:
    """NumPy's and PyTorch's, of any batch, with the gradients of what they are made of."""
    rng = np.random.default_rng(3)
    rotation, translation = rng.normal(size=(*batch, 3, 3)), rng.normal(size=(*batch, 3))
    found = poses.rigid_transform(rotation, translation)
    np.testing.assert_array_equal(found[..., :3, :3], rotation)
    np.testing.assert_array_equal(found[..., :3, 3], translation)
    lowest = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (*batch, 4))
    np.testing.assert_array_equal(found[..., 3, :], lowest)
    parts = [_tensor(part).requires_grad_() for part in (rotation, translation)]
    np.testing.assert_array_equal(poses.rigid_transform(*parts).detach(), found)
    assert torch.autograd.gradcheck(poses.rigid_transform, parts)


def test_inverse_and_composition() -> None:
    """A transform and its inverse cancel; composing is applying one after the other."""
    transforms = poses.exp_se3(_tensor(np.random.default_rng(0).normal(size=(8, 6))))
    identity = poses.compose(transforms, poses.invert(transforms))
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(4), (8, 4, 4)), atol=1e-12)
    points = _tensor(np.random.default_rng(1).normal(size=(8, 5, 3)))
    both = poses.transform_points(poses.compose(transforms, transforms.flip(0)), points)
    in_turn = poses.transform_points(
        transforms, poses.transform_points(transforms.flip(0), points)
    )
    np.testing.assert_allclose(both, in_turn, atol=1e-12)


@pytest.mark.parametrize('degrees', [0.0, 1e-5, 0.01, 30.0, 90.0, 179.9, 180.0])
def test_rotation_angle_keeps_its_digits(degrees: float) -> None:
    """Down to a hundred-thousandth of a degree, where arccos has none left."""
    axis = np.array([0.6, -0.48, 0.64])
    rotation = _tensor(Rotation.from_rotvec(math.radians(degrees) * axis).as_matrix())
    assert math.degrees(float(poses.rotation_angle(rotation))) == pytest.approx(degrees, abs=1e-6)


def test_rotation_angle_has_a_finite_gradient_at_the_identity() -> None:
    """The usual arccos would give infinity and end a training."""
    rotation = torch.eye(3, dtype=torch.float64, requires_grad=True)
    poses.rotation_angle(rotation).backward()
    assert rotation.grad is not None
    assert torch.isfinite(rotation.grad).all()
