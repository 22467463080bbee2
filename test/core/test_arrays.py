"""NumPy and PyTorch give the same answers, and one bad matrix spoils no other."""

from collections.abc import Callable
from dataclasses import replace
from operator import methodcaller

import numpy as np
import pytest
import torch
from torch import Tensor

from implicit_loc.arrays import (
    Constant,
    chosen_rows,
    kept,
    least_pivot,
    may_leave_torch,
    solve_positive,
    taken,
    to_numpy,
)
from implicit_loc.cells import Cells
from implicit_loc.consensus import soft_inliers
from implicit_loc.poses import exp_se3
from implicit_loc.refinement import Refined, refine
from implicit_loc.resection import resect
from implicit_loc.robust import weighted_median
from implicit_loc.robust_cost import normal_equations, robust_scales

MakeCells = Callable[..., tuple[Cells, Tensor]]


def _matrices(count: int = 4, size: int = 6) -> Tensor:
    roots = torch.from_numpy(np.random.default_rng(0).normal(size=(count, size, size)))
    return roots @ roots.mT


def test_systems_are_solved_alike() -> None:
    matrices = _matrices()
    right = torch.ones(4, 6, 1, dtype=torch.float64)
    found = solve_positive(to_numpy(matrices), to_numpy(right))
    np.testing.assert_allclose(found, solve_positive(matrices, right), rtol=1e-9)


@pytest.mark.parametrize('bad', [0.0, float('nan')])
def test_a_system_without_solution_spoils_no_other(bad: float) -> None:
    matrices = _matrices()
    matrices[1] = bad
    right = torch.ones(4, 6, 1, dtype=torch.float64)
    good = [0, 2, 3]
    for found in (
        torch.from_numpy(solve_positive(to_numpy(matrices), to_numpy(right))),
        solve_positive(matrices, right),
    ):
        assert torch.isfinite(found[good]).all()
        torch.testing.assert_close(matrices[good] @ found[good], right[good])
        assert not torch.isfinite(found[1]).all()


def test_pivots_tell_what_is_not_positive_definite() -> None:
    matrices = _matrices()
    matrices[2] = torch.diag(torch.tensor([1.0, 1, 1, 1, 1, -1], dtype=torch.float64))
    expected = least_pivot(matrices)
    found = least_pivot(to_numpy(matrices))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert expected[2] == 0
    assert (expected[[0, 1, 3]] > 0).all()


def test_values_are_taken_alike() -> None:
    values = torch.arange(24.0).reshape(2, 3, 4)
    index = torch.tensor([[[3, 0]], [[1, 1]]]).expand(2, 3, 2).contiguous()
    np.testing.assert_array_equal(taken(values.numpy(), index.numpy()), taken(values, index))


@pytest.mark.parametrize('chosen', [(True, True), (False, False), (True, False)])
def test_rows_are_chosen_alike(chosen: tuple[bool, bool]) -> None:
    mask, (new, old) = torch.tensor(chosen), torch.arange(16.0).reshape(2, 2, 4)
    (expected,) = chosen_rows(mask, [new], [old])
    (found,) = chosen_rows(mask.numpy(), [new.numpy()], [old.numpy()])
    np.testing.assert_array_equal(found, expected)
    for row, is_new in enumerate(chosen):
        torch.testing.assert_close(expected[row], (new if is_new else old)[row])


@pytest.mark.parametrize('mask', [(True, True), (False, True)])
def test_values_are_kept_alike(mask: tuple[bool, bool]) -> None:
    values = torch.tensor([float('nan') if not mask[0] else 1.0, 2.0])
    found = kept(values.numpy(), np.array(mask))
    np.testing.assert_array_equal(found, kept(values, torch.tensor(mask)))
    assert list(found) == [float(mask[0]), 2.0]


def test_medians_are_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    values, weights = torch.rand(2, 5, 3, 101, generator=generator, dtype=torch.float64)
    weights[0] = 0
    values[1, 0, 3] = float('inf')
    expected = weighted_median(values, weights)
    np.testing.assert_array_equal(weighted_median(values.numpy(), weights.numpy()), expected)


def test_constants_follow_library_and_precision() -> None:
    constant = Constant(np.eye(2))
    assert constant.like(np.ones(1, np.float32)).dtype == np.float32
    assert constant.like(torch.ones(1)).dtype == torch.float32
    assert constant.like(torch.ones(1)) is constant.like(torch.zeros(3))


def test_a_constant_of_inference_serves_a_training() -> None:
    constant = Constant(np.full(3, 2.0))
    with torch.inference_mode():
        constant.like(torch.ones(3))
    learned = torch.ones(3, requires_grad=True)
    (learned * constant.like(learned)).sum().backward()
    assert learned.grad is not None
    assert (learned.grad == 2).all()


def test_what_learns_stays_in_torch() -> None:
    fixed, learned = torch.ones(3), torch.ones(3, requires_grad=True)
    assert may_leave_torch(fixed, fixed)
    assert not may_leave_torch(fixed, learned)
    with torch.no_grad():
        assert may_leave_torch(fixed, learned)


def _refined(cells: Cells, start: Tensor, in_torch: bool) -> Refined:
    """With a gradient wanted of the cells, or none."""
    moving = cells.map(methodcaller('clone'))
    moving.world_points.requires_grad_(in_torch)
    return refine(start, moving, differentiable_last_step=True)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_refinement_is_the_same_in_both(make_cells: MakeCells, dtype: torch.dtype) -> None:
    """On the host it leaves PyTorch; a training, and a GPU, do not."""
    cells, pose = make_cells(seed=3, noise=0.02)
    start = pose @ exp_se3(torch.full((len(pose), 6), 0.02, dtype=pose.dtype))
    cells, start = cells.map(methodcaller('to', dtype)), start.to(dtype)
    numpy, torch_ = (_refined(cells, start, in_torch) for in_torch in (False, True))
    assert torch_.world_from_camera.requires_grad
    assert not numpy.world_from_camera.requires_grad
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(
        numpy.world_from_camera, torch_.world_from_camera.detach(), atol=tolerance, rtol=0
    )
    torch.testing.assert_close(numpy.scales.pixels, torch_.scales.pixels, atol=tolerance, rtol=0)


@pytest.mark.parametrize('kind', ['usual', 'not finite', 'no weight'])
def test_resection_is_the_same_in_both(make_cells: MakeCells, kind: str) -> None:
    cells, _ = make_cells(seed=6, noise=0.02, outliers=0.2)
    world, weights = cells.world_points, cells.weights
    if kind == 'not finite':
        world[:, 3], weights[:, 3] = torch.nan, 0
    if kind == 'no weight':
        weights[:] = 0
    expected = resect(world.clone().requires_grad_(), cells.rays, weights)
    assert expected.requires_grad
    found = resect(world, cells.rays, weights)
    torch.testing.assert_close(found, expected.detach(), atol=1e-9, rtol=0)


def test_inliers_are_the_same_in_both(make_cells: MakeCells) -> None:
    """Cells behind the camera are none, nor are those too far off for their distance to count."""
    cells, pose = make_cells(seed=7, noise=0.05)
    cells.world_points[:, :5] = 2 * pose[:, None, :3, 3] - cells.world_points[:, :5]
    cells.world_points[:, 5] += 1e6
    poses = torch.stack([pose, pose @ exp_se3(torch.full((1, 6), 0.1, dtype=pose.dtype))], dim=1)
    expected = soft_inliers(poses.clone().requires_grad_(), cells)
    assert expected.requires_grad
    with np.errstate(all='raise'):
        found = soft_inliers(poses, cells)
    torch.testing.assert_close(found, expected.detach(), atol=1e-12, rtol=0)
    assert (found[..., :5] == 0).all()
    assert (found[..., 5] < 1e-9).all()
    assert (found[:, 0, 6:] > 0.5).any()


@pytest.mark.parametrize('kind', ['usual', 'behind', 'one point', 'no weight'])
def test_normal_equations_are_the_same_in_both(make_cells: MakeCells, kind: str) -> None:
    parts = [make_cells(seed=seed, noise=0.02) for seed in (4, 5)]
    poses = torch.cat([pose for _, pose in parts])
    cells = Cells(*(torch.cat(fields) for fields in zip(*map(_fields, parts), strict=True)))
    changed = {
        'usual': cells,
        'behind': replace(cells, world_points=-cells.world_points),
        'one point': replace(cells, world_points=cells.world_points * 0),
        'no weight': replace(cells, weights=cells.weights * 0),
    }[kind]
    scales = robust_scales(poses, changed)
    expected = normal_equations(poses.clone().requires_grad_(), changed, scales)
    assert expected.information.requires_grad
    for found, torch_ in zip(normal_equations(poses, changed, scales), expected, strict=True):
        torch.testing.assert_close(found, torch_.detach(), rtol=1e-9, atol=1e-9)


def _fields(place: tuple[Cells, Tensor]) -> list[Tensor]:
    cells, _ = place
    return [
        cells.world_points,
        cells.camera_points,
        cells.rays,
        cells.weights,
        cells.focal_length,
    ]


def test_scales_of_no_finite_cell_are_quiet(make_cells: MakeCells) -> None:
    """NumPy would warn, which a robot's log need not know."""
    cells, pose = make_cells(seed=3)
    for value in (float('nan'), float('inf')):
        empty = replace(cells, world_points=torch.full_like(cells.world_points, value))
        with np.errstate(all='raise'):
            scales = robust_scales(pose, empty)
        assert torch.isfinite(scales.pixels).all()
