"""The robust cost: derivatives, largest value, invariances, cells that must not count."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.poses import exp_se3, invert, transform_points
from implicit_loc.refinement import refine
from implicit_loc.robust import COSTS
from implicit_loc.robust_cost import (
    CostOptions,
    Scales,
    cell_equations,
    normal_equations,
    robust_cost,
    robust_scales,
)

MakeCells = Callable[..., tuple[Cells, Tensor]]


def _scales(batch: int = 1, pixels: float = 5.0, metres: float = 0.1) -> Scales:
    return Scales(*(torch.full((batch,), size, dtype=torch.float64) for size in (pixels, metres)))


def _moved(cells: Cells, pose: Tensor, twist: Tensor) -> Cells:
    """Cells whose points were moved by exp(twist) in the camera frame."""
    motion = pose @ exp_se3(twist) @ invert(pose)
    return replace(cells, world_points=transform_points(motion, cells.world_points))


@pytest.mark.parametrize('use_depth', [True, False])
@pytest.mark.parametrize('kind', COSTS)
def test_the_gradient_is_that_of_the_cost(
    make_cells: MakeCells, kind: str, use_depth: bool
) -> None:
    """Analytic against automatic differentiation, outliers included."""
    cells, pose = make_cells(seed=1, batch=3, noise=0.05, outliers=0.3)
    options = CostOptions(kind=kind, use_depth=use_depth)
    twist = torch.zeros(3, 6, dtype=torch.float64, requires_grad=True)
    cost = robust_cost(pose, _moved(cells, pose, twist), _scales(3), options)
    (gradient,) = torch.autograd.grad(cost.sum(), twist)
    found = normal_equations(pose, cells, _scales(3), options)
    torch.testing.assert_close(found.cost, cost.detach())
    torch.testing.assert_close(2 * found.gradient, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('use_depth', [True, False])
def test_the_information_is_half_the_curvature_where_cells_fit(
    make_cells: MakeCells, use_depth: bool
) -> None:
    """Without residuals Gauss-Newton is exact."""
    cells, pose = make_cells(seed=2, noise=0.0)
    options = CostOptions(use_depth=use_depth)

    def cost(twist: Tensor) -> Tensor:
        return robust_cost(pose, _moved(cells, pose, twist[None]), _scales(), options)[0]

    curvature = torch.autograd.functional.hessian(cost, torch.zeros(6, dtype=torch.float64))
    information = normal_equations(pose, cells, _scales(), options).information[0]
    torch.testing.assert_close(2 * information, curvature, rtol=1e-8, atol=1e-8)
    assert (torch.linalg.eigvalsh(information) > 0).all()


def test_nothing_costs_more_than_a_point_behind_the_camera(make_cells: MakeCells) -> None:
    cells, pose = make_cells(count=8, noise=0.0)
    seen = torch.tensor(
        [[0, 0, -5.0], [3, 1, -1e-3], [0, 0, 0], [1e3, 0, -1e6]], dtype=torch.float64
    )
    behind = replace(cells, world_points=transform_points(pose, seen[None].repeat(1, 2, 1)))
    largest = robust_cost(pose, behind, _scales())
    one_by_one = [
        robust_cost(pose, Cells(*(part[:, i : i + 1] for part in _cell_parts(behind)),
                                behind.focal_length), _scales())
        for i in range(4)
    ]  # fmt: skip
    ratio = 260.0 / (2 * 5.0)
    depth = behind.camera_points[0, :4, 2] / (2 * 0.1)
    z = ratio**2 + depth**2
    torch.testing.assert_close(torch.cat(one_by_one), z / (1 + z), rtol=1e-2, atol=0)
    assert normal_equations(pose, behind, _scales()).gradient.abs().max() == 0
    distant = replace(cells, world_points=transform_points(pose, 100 * cells.camera_points))
    depth = cells.camera_points[0, :, 2] / (2 * 0.1)
    expected = (cells.weights[0].sqrt() * depth**2 / (1 + depth**2)).sum()
    expected = expected / cells.weights[0].sqrt().sum()
    torch.testing.assert_close(robust_cost(pose, distant, _scales())[0], expected)
    far = replace(cells, world_points=cells.world_points + 1e6)
    assert robust_cost(pose, far, _scales()) <= largest + 1e-3


def _cell_parts(cells: Cells) -> tuple[Tensor, ...]:
    return cells.world_points, cells.camera_points, cells.rays, cells.weights


def test_the_scale_of_weights_and_the_place_of_the_map_do_not_matter(
    make_cells: MakeCells,
) -> None:
    cells, pose = make_cells(outliers=0.2)
    expected = normal_equations(pose, cells, _scales())
    shift = torch.tensor([4e5, -5e6, 100.0], dtype=torch.float64)
    moved_pose = pose.clone()
    moved_pose[:, :3, 3] += shift
    moved = replace(cells, world_points=cells.world_points + shift, weights=1e-3 * cells.weights)
    found = normal_equations(moved_pose, moved, _scales())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_scales_are_standard_deviations_whatever_a_third_of_the_cells_does(
    make_cells: MakeCells,
) -> None:
    for outliers, tolerance in ((0.0, 0.1), (0.33, 0.8)):
        cells, pose = make_cells(seed=3, count=4000, noise=0.0, outliers=outliers)
        generator = torch.Generator().manual_seed(4)
        noise = torch.randn(1, 4000, 1, generator=generator, dtype=torch.float64)
        cells = replace(cells, camera_points=cells.camera_points + 0.05 * noise * cells.rays)
        scales = robust_scales(pose, cells)
        assert float(scales.metres) == pytest.approx(0.05, rel=tolerance)
        # The points themselves fit exactly where they are no outliers: the floor.
        assert float(scales.pixels) == CostOptions().least_pixels


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf, 1e30])
def test_cells_that_are_no_predictions_do_not_count(make_cells: MakeCells, bad: float) -> None:
    cells, pose = make_cells()
    expected = normal_equations(
        pose, Cells(*(part[:, 3:] for part in _cell_parts(cells)), cells.focal_length), _scales()
    )
    world, camera, rays, weights = (part.clone() for part in _cell_parts(cells))
    world[:, 0, 1] = bad
    camera[:, 1, 2] = bad
    rays[:, 2, 0] = bad
    found = normal_equations(
        pose, Cells(world, camera, rays, weights, cells.focal_length), _scales()
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_one_image_may_have_many_poses(make_cells: MakeCells) -> None:
    cells, pose = make_cells()
    twists = 0.1 * torch.arange(18, dtype=torch.float64).reshape(3, 6).sin()
    poses = pose @ exp_se3(twists)
    scales = robust_scales(poses, cells)
    costs = robust_cost(poses, cells, scales)
    for i in range(3):
        one = robust_scales(poses[i : i + 1], cells)
        torch.testing.assert_close(scales.pixels[i : i + 1], one.pixels)
        torch.testing.assert_close(costs[i : i + 1], robust_cost(poses[i : i + 1], cells, one))


def test_no_weight_costs_nothing(make_cells: MakeCells) -> None:
    cells, pose = make_cells()
    none = replace(cells, weights=torch.zeros_like(cells.weights))
    assert robust_cost(pose, none, robust_scales(pose, none)) == 0


@pytest.mark.parametrize('count', [200, 3000])
def test_the_pose_that_more_cells_agree_with_fits_better(
    make_cells: MakeCells, count: int
) -> None:
    """Also where its own scale is the tighter one, and of so many cells that some are asked."""
    cells, pose = make_cells(seed=3, batch=2, count=count, noise=0.02, outliers=0.3)
    off = pose @ exp_se3(torch.full((2, 6), 0.1, dtype=torch.float64))
    first, second = torch.stack([off[0], pose[1]]), torch.stack([pose[0], off[1]])
    for start, rival in ((first, second), (second, first), (pose, off), (off, pose)):
        torch.testing.assert_close(refine(start, cells, rival=rival).start, pose, atol=0, rtol=0)


def test_without_depth_a_cell_needs_none(make_cells: MakeCells) -> None:
    cells, pose = make_cells(seed=4)
    options = CostOptions(use_depth=False)
    nowhere = replace(cells, camera_points=torch.full_like(cells.camera_points, torch.nan))
    expected, found = (robust_scales(pose, each, options) for each in (cells, nowhere))
    torch.testing.assert_close(found.pixels, expected.pixels)
    assert found.metres.isinf().all()


@pytest.mark.parametrize('use_depth', [True, False])
@pytest.mark.parametrize('exponent', [0.0, 0.5])
def test_the_gradient_is_the_sum_of_what_cells_add(
    make_cells: MakeCells, use_depth: bool, exponent: float
) -> None:
    """Some points lie behind the camera, some cells have no weight."""
    cells, pose = make_cells(seed=5, batch=2, noise=0.05, outliers=0.3)
    cells.world_points[:, :5] = 2 * pose[:, None, :3, 3] - cells.world_points[:, :5]
    cells.weights[:, 5:9] = 0
    options = CostOptions(use_depth=use_depth, weight_exponent=exponent)
    scales = robust_scales(pose, cells, options)
    expected = normal_equations(pose, cells, scales, options)
    gradients, information = cell_equations(pose, cells, options)
    torch.testing.assert_close(gradients.sum(dim=-1), expected.gradient)
    torch.testing.assert_close(information, expected.information)
    assert not gradients[..., :9].any()
