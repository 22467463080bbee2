"""Weighted rigid alignment: known motions, independent libraries, gradients, bad geometry."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('hypothesis', reason='hypothesis is not installed')
pytest.importorskip('roma', reason='roma is not installed')
pytest.importorskip('scipy', reason='scipy is not installed')

import roma
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from implicit_loc.alignment import align, nearest_rotation


def _problem(
    seed: int, count: int = 50, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """World points, camera points, weights and the pose between them."""
    rng = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = rng.normal(size=3) * 3
    camera = rng.normal((0, 0, 3), 1, (count, 3))
    world = camera @ pose[:3, :3].T + pose[:3, 3] + noise * rng.normal(size=(count, 3))
    return world, camera, rng.uniform(0.01, 1, count), pose


def _batched(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array)[None] for array in arrays]


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_alignment_recovers_a_known_motion(seed: int) -> None:
    """Exactly, whatever the weights."""
    world, camera, weights, pose = _problem(seed)
    np.testing.assert_allclose(align(*_batched(world, camera, weights))[0], pose, atol=1e-10)


@given(st.integers(0, 2**31 - 1), st.floats(0.01, 2.0))
@settings(max_examples=50, deadline=None)
def test_alignment_agrees_with_scipy(seed: int, noise: float) -> None:
    """An independent library finds the same optimum for noisy points, to 1e-6."""
    world, camera, weights, _ = _problem(seed, noise=noise)
    shares = (weights / weights.sum())[:, None]
    world_mean, camera_mean = (shares * world).sum(0), (shares * camera).sum(0)
    reference, _ = Rotation.align_vectors(world - world_mean, camera - camera_mean, weights)
    pose = align(*_batched(world, camera, weights))[0].numpy()
    np.testing.assert_allclose(pose[:3, :3], reference.as_matrix(), atol=1e-6)
    translation = world_mean - reference.apply(camera_mean)
    np.testing.assert_allclose(pose[:3, 3], translation, atol=1e-6)


def test_nearest_rotation_and_its_gradient_agree_with_roma() -> None:
    """Also for matrices whose determinant is negative."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(200, 3, 3, dtype=torch.float64, generator=generator)
    upstream = torch.randn(200, 3, 3, dtype=torch.float64, generator=generator)
    ours, theirs = matrices.clone().requires_grad_(), matrices.clone().requires_grad_()
    (nearest_rotation(ours) * upstream).sum().backward()
    (roma.special_procrustes(theirs) * upstream).sum().backward()
    assert (torch.det(matrices) < 0).sum() > 50
    np.testing.assert_allclose(
        nearest_rotation(matrices), roma.special_procrustes(matrices), atol=1e-9
    )
    assert ours.grad is not None
    assert theirs.grad is not None
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('kind', ['random', 'planar', 'equal spread', 'reflected', 'thin'])
def test_gradients_of_the_alignment(kind: str) -> None:
    """By gradcheck in float64, also where the gradient of an SVD would not exist."""
    world, camera, weights, pose = _problem(3, count=8)
    if kind == 'planar':
        camera[:, 2] = 2.0
    if kind == 'equal spread':  # all three singular values meet
        camera[:8] = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
        weights[:] = 1.0
    if kind == 'thin':  # nearly on a line
        camera[:, 1:] *= 1e-2
    world = camera @ pose[:3, :3].T + pose[:3, 3]
    if kind == 'reflected':
        world = camera * (1, 1, -1)
    inputs = [tensor.requires_grad_() for tensor in _batched(world, camera, weights)]
    assert torch.autograd.gradcheck(align, inputs, eps=1e-7, atol=1e-4)


def test_a_reflection_is_never_returned() -> None:
    """Mirrored clouds give the best rotation, not a mirror."""
    _, camera, weights, _ = _problem(0)
    batched = align(*_batched(camera * (1, 1, -1), camera, weights))
    assert float(torch.det(batched[0, :3, :3])) == pytest.approx(1.0)


def test_gradients_stay_finite_where_the_rotation_is_not_determined() -> None:
    """Points on a line, in one point, and without weight must not end a training."""
    line = torch.linspace(0, 1, 10)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    for points, weights in (
        (line, torch.ones(10)),
        (torch.ones(10, 3), torch.ones(10)),
        (line, torch.zeros(10)),
    ):
        inputs = [tensor[None].clone().requires_grad_() for tensor in (points, points, weights)]
        pose = align(*inputs)
        assert torch.isfinite(pose).all()
        pose.sum().backward()
        for tensor in inputs:
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()


def test_what_is_not_finite_stays_so_and_spoils_nothing_else() -> None:
    """In a batch, only the matrix with the NaN has no rotation and no gradient."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 3, 3, generator=generator)
    expected = nearest_rotation(matrix)
    matrix[1, 2, 0] = torch.nan
    matrix.requires_grad_()
    rotation = nearest_rotation(matrix)
    torch.testing.assert_close(rotation[[0, 2]], expected[[0, 2]])
    assert rotation[1].isnan().all()
    rotation.sum().backward()
    assert matrix.grad is not None
    assert matrix.grad[[0, 2]].isfinite().all()
    assert matrix.grad[1].isnan().all()


def test_zero_weights_leave_points_out() -> None:
    """An arbitrary point without weight changes nothing, and the scale of weights is free."""
    world, camera, weights, pose = _problem(1)
    world[:20] += 100.0
    weights[:20] = 0.0
    for scale in (1.0, 1e-6):
        found = align(*_batched(world, camera, scale * weights))[0]
        np.testing.assert_allclose(found, pose, atol=1e-10)


class _Alignment(torch.nn.Module):
    def forward(self, *clouds: torch.Tensor) -> torch.Tensor:
        return align(*clouds)


def test_onnx_runtime_aligns_as_numpy_does(tmp_path: Path) -> None:
    """Exported in float32, with all that is computed in float64 inside."""
    for package in ('onnx', 'onnxscript'):
        pytest.importorskip(package, reason=f'{package}, an optional dependency, is missing')
    onnxruntime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    clouds = [tensor.float() for tensor in _batched(*_problem(4, noise=0.1)[:3])]
    program = torch.onnx.export(
        _Alignment().eval(), tuple(clouds), dynamo=True, verbose=False, optimize=False
    )
    assert program is not None
    program.save(tmp_path / 'alignment.onnx')
    session = onnxruntime.InferenceSession(tmp_path / 'alignment.onnx')
    others = [tensor.float() for tensor in _batched(*_problem(5, noise=1.0)[:3])]
    names = [given.name for given in session.get_inputs()]
    arrays = [tensor.numpy() for tensor in others]
    found = session.run(None, dict(zip(names, arrays, strict=True)))[0]
    np.testing.assert_allclose(found, align(*others), atol=1e-6)


@pytest.mark.parametrize('_', ['first', 'second'])
def test_alignment_on_a_gpu_never_waits_for_the_host(_: str) -> None:
    """On a GPU that is only pretended, where reading a number is an error; nothing of it is kept.

    Numbers that had been made for the first one would be refused by the second.
    """
    with FakeTensorMode(), torch.inference_mode():
        points = torch.empty(2, 50, 3, device='cuda')
        pose = align(points, points, points[..., 0])
        with pytest.raises(DataDependentOutputException):
            pose.sum().item()
    assert pose.device.type == 'cuda'
    assert pose.dtype == torch.float32


@pytest.mark.parametrize('with_gradient', [True, False])
def test_the_higher_precision_counts(with_gradient: bool) -> None:
    """Depths and rays of a training are float64 where cameras are, its world points float32."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(1, 20, 3, generator=generator)
    points.requires_grad_(with_gradient)
    pose = align(points, points.detach().double(), torch.ones(1, 20))
    assert pose.dtype == torch.float64
    torch.testing.assert_close(pose.detach(), torch.eye(4, dtype=torch.float64)[None])
