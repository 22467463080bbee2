"""Refinement: SciPy's optimum, gradients, precision, and geometry that determines nothing."""

from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter, methodcaller

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')
pytest.importorskip('scipy', reason='scipy is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from implicit_loc.cells import Cells
from implicit_loc.poses import exp_se3, invert, log_se3, transform_points
from implicit_loc.refinement import Refined, RefinementOptions, refine, robust_cost, robust_scales
from implicit_loc.robust import COSTS

MakeCells = Callable[..., tuple[Cells, Tensor]]

# Floors so large that they are the scales.
FIXED_SCALES = {'least_pixels': 30.0, 'least_relative_depth': 0.2}


def _off(pose: Tensor, size: float = 0.05) -> Tensor:
    """A start beside the pose: metres and radians."""
    twists = torch.arange(6 * len(pose), dtype=torch.float64).reshape(-1, 6)
    return (pose @ exp_se3(size * torch.cos(3 * twists)).to(pose.dtype)).to(pose.dtype)


def _difference(first: Tensor, second: Tensor) -> float:
    return float(log_se3(invert(first.double()) @ second.double()).abs().max())


def _normalised(cells: Cells, pose: Tensor, refined: Refined, width: float) -> Tensor:
    """Residuals of each cell over width and scale, (N, 3); only of points in front."""
    seen = transform_points(invert(pose), cells.world_points)
    offset = seen[..., :2] / seen[..., 2:] - cells.rays[..., :2]
    pixels = cells.focal_length * offset / (width * refined.scales.pixels)
    depth = (seen[..., 2:] - cells.camera_points[..., 2:]) / (width * refined.scales.metres)
    return torch.cat([pixels, depth], dim=-1)[0]


@pytest.mark.parametrize('seed', range(8))
def test_scipy_finds_the_same_optimum(make_cells: MakeCells, seed: int) -> None:
    """SciPy's own Cauchy loss; a cell of weight k is k cells for SciPy."""
    cells, pose = make_cells(seed=seed, noise=0.04, outliers=0.2, outlier_size=0.3)
    copies = torch.randint(1, 4, (60,), generator=torch.Generator().manual_seed(seed))
    cells = replace(cells, weights=copies[None].double())
    options = RefinementOptions(
        kind='cauchy', weight_exponent=1.0, width=2.4, steps=200, **FIXED_SCALES
    )
    refined = refine(_off(pose), cells, options)
    assert float(refined.scales.pixels) == pytest.approx(FIXED_SCALES['least_pixels'])

    def lengths(twist: np.ndarray) -> np.ndarray:
        moved = refined.world_from_camera @ exp_se3(torch.from_numpy(twist)[None])
        found = _normalised(cells, moved, refined, options.width).norm(dim=-1)
        return found.repeat_interleave(copies).numpy()

    start = np.full(6, 1e-3)
    optimum = least_squares(
        lengths, start, jac='3-point', loss='cauchy', xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    np.testing.assert_allclose(optimum.x, 0, atol=1e-6)
    assert 2 * optimum.cost / int(copies.sum()) == pytest.approx(float(refined.cost), rel=1e-9)


@pytest.mark.parametrize('use_depth', [True, False])
@pytest.mark.parametrize('kind', COSTS)
def test_scipy_finds_the_same_optimum_of_any_cost(
    make_cells: MakeCells, kind: str, use_depth: bool
) -> None:
    """The cost as a plain sum of squares."""
    cells, pose = make_cells(seed=11, noise=0.03, outliers=0.1, outlier_size=0.3)
    options = RefinementOptions(kind=kind, use_depth=use_depth, steps=200, **FIXED_SCALES)
    refined = refine(_off(pose, 0.02), cells, options)

    def residuals(twist: np.ndarray) -> np.ndarray:
        moved = refined.world_from_camera @ exp_se3(torch.from_numpy(twist)[None])
        found = _normalised(cells, moved, refined, options.width)[:, : 3 if use_depth else 2]
        value = COSTS[kind](found.square().sum(dim=-1)).cost * cells.weights[0].sqrt()
        return value.sqrt().numpy()

    optimum = least_squares(residuals, np.full(6, 1e-3), jac='3-point', xtol=1e-15, ftol=1e-15)
    np.testing.assert_allclose(optimum.x, 0, atol=1e-6)


@given(st.integers(0, 2**31 - 1), st.floats(0.0, 0.3), st.floats(0.0, 0.9), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_cost_never_rises(
    make_cells: MakeCells, seed: int, noise: float, outliers: float, count: int
) -> None:
    cells, pose = make_cells(seed=seed, count=count, noise=noise, outliers=outliers)
    start = _off(pose, 0.3)
    refined = refine(start, cells)
    assert torch.isfinite(refined.world_from_camera).all()
    assert bool(refined.improved) == bool(refined.cost < refined.start_cost)
    after = robust_cost(refined.world_from_camera, cells, refined.scales)
    torch.testing.assert_close(after, refined.cost, rtol=1e-6, atol=1e-9)
    before = robust_cost(start, cells, refined.scales)
    torch.testing.assert_close(before, refined.start_cost, rtol=1e-6, atol=1e-9)


def test_outliers_do_not_move_the_pose(make_cells: MakeCells) -> None:
    cells, pose = make_cells(seed=5, count=400, noise=0.005, outliers=0.3)
    refined = refine(_off(pose, 0.05), cells)
    assert _difference(refined.world_from_camera, pose) < 0.005


def test_a_batch_is_its_images_one_by_one(make_cells: MakeCells) -> None:
    cells, pose = make_cells(seed=6, batch=4, outliers=0.2)
    together = refine(_off(pose), cells).world_from_camera
    for i in range(4):
        alone = refine(
            _off(pose)[i : i + 1], cells.map(itemgetter(slice(i, i + 1)))
        ).world_from_camera
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize('count', [100, 3000])
def test_the_same_input_gives_the_same_pose(make_cells: MakeCells, count: int) -> None:
    cells, pose = make_cells(seed=7, count=count, outliers=0.2)
    first, second = (refine(_off(pose), cells).world_from_camera for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize('count', [100, 3000])
@pytest.mark.parametrize(
    ('dtype', 'shift', 'tolerance'),
    [
        (torch.float64, 0.0, 1e-9),
        (torch.float64, 1e6, 1e-6),
        (torch.float32, 0.0, 1e-4),
        (torch.float32, 1e4, 5e-3),  # float32 has steps of a millimetre there
    ],
)
def test_precision_suffices_anywhere_on_earth(
    make_cells: MakeCells, count: int, dtype: torch.dtype, shift: float, tolerance: float
) -> None:
    cells, pose = make_cells(seed=8, count=count, outliers=0.2)
    start = _off(pose)
    expected = refine(start, cells).world_from_camera.clone()
    for place in (start, expected):
        place[:, :3, 3] += shift
    moved = replace(cells, world_points=cells.world_points + shift)
    found = refine(start.to(dtype), moved.map(methodcaller('to', dtype))).world_from_camera
    assert found.dtype == dtype
    assert _difference(found, expected) < tolerance


def _cells_on(kind: str, make_cells: MakeCells) -> tuple[Cells, Tensor]:
    """Cells whose points have a degenerate shape, seen without error."""
    cells, pose = make_cells(seed=9, noise=0.0)
    camera = cells.camera_points.clone()
    along = torch.linspace(-1, 1, camera.shape[1], dtype=torch.float64)[None, :, None]
    direction = torch.tensor([0.6, -0.3, 0.4], dtype=torch.float64)
    middle = torch.tensor([0.1, 0.2, 3.0], dtype=torch.float64)
    if kind in ('line', 'nearly a line'):
        camera = middle + along * direction + (kind != 'line') * 1e-5 * cells.rays
    elif kind == 'point':
        camera = middle.expand_as(camera).clone()
    elif kind == 'plane':
        camera = camera / camera[..., 2:] * 3
    elif kind == 'at the camera':
        camera = torch.zeros_like(camera)
    elif kind == 'behind':
        camera = -camera
    world = transform_points(pose, camera)
    rays = cells.rays if kind in ('at the camera', 'behind') else camera / camera[..., 2:]
    return replace(cells, world_points=world, camera_points=camera, rays=rays), pose


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('kind', ['line', 'nearly a line', 'point', 'at the camera', 'behind'])
def test_cells_that_determine_no_pose_leave_the_start_as_it_is(
    make_cells: MakeCells, kind: str, dtype: torch.dtype
) -> None:
    cells, pose = _cells_on(kind, make_cells)
    start = _off(pose, 0.01).to(dtype)
    refined = refine(start, cells.map(methodcaller('to', dtype)))
    assert torch.equal(refined.world_from_camera, start)
    assert not refined.improved
    assert torch.isfinite(refined.cost)


def test_a_plane_determines_the_pose(make_cells: MakeCells) -> None:
    cells, pose = _cells_on('plane', make_cells)
    refined = refine(_off(pose, 0.02), cells, RefinementOptions(steps=20))
    assert _difference(refined.world_from_camera, pose) < 1e-6


@pytest.mark.parametrize('weight', [0.0, torch.nan, torch.inf, -1.0])
def test_without_weight_nothing_happens(make_cells: MakeCells, weight: float) -> None:
    cells, pose = make_cells()
    refined = refine(_off(pose), replace(cells, weights=torch.full_like(cells.weights, weight)))
    assert torch.equal(refined.world_from_camera, _off(pose))
    assert refined.cost == 0


def test_a_perfect_start_stays_perfect(make_cells: MakeCells) -> None:
    cells, pose = make_cells(noise=0.0)
    assert _difference(refine(pose, cells).world_from_camera, pose) < 1e-9


def test_a_start_that_is_not_finite_costs_nothing(make_cells: MakeCells) -> None:
    cells, pose = make_cells()
    refined = refine(torch.full_like(pose, torch.nan), cells)
    assert (bool(refined.improved), float(refined.cost)) == (False, 0.0)


@given(
    st.integers(0, 2**31 - 1),
    st.lists(st.sampled_from([torch.nan, torch.inf, -1e38, 1e38, 1e9, -0.0, 1e-38]), min_size=1),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_no_prediction_makes_a_pose_that_is_not_finite(
    make_cells: MakeCells, seed: int, bad: list[float], dtype: torch.dtype
) -> None:
    cells, pose = make_cells(seed=seed, count=20)
    parts = {name: part.to(dtype) for name, part in vars(cells).items()}
    generator = torch.Generator().manual_seed(seed)
    for number in bad:
        for name in ('world_points', 'camera_points', 'rays', 'weights'):
            flat = parts[name].view(-1)
            flat[torch.randint(0, len(flat), (3,), generator=generator)] = number
    refined = refine(_off(pose, 0.1).to(dtype), Cells(**parts))
    assert torch.isfinite(refined.world_from_camera).all()
    assert torch.isfinite(refined.cost).all()
    assert (refined.cost <= refined.start_cost).all()


@pytest.mark.parametrize('differentiable', [False, True])
def test_nothing_depends_on_values_but_values(make_cells: MakeCells, differentiable: bool) -> None:
    """Tensors without any data run through: no branch, no shape, no host needs a value."""
    cells, pose = make_cells(count=3000)
    meta = cells.map(methodcaller('to', 'meta'))
    refined = refine(pose.to('meta'), meta, differentiable_last_step=differentiable)
    assert refined.world_from_camera.shape == pose.shape


@pytest.mark.parametrize('kind', COSTS)
def test_gradients_pass_through_the_last_step(make_cells: MakeCells, kind: str) -> None:
    """Automatic against numeric differentiation, to points, depth and weights."""
    cells, pose = make_cells(seed=10, count=12)
    options = RefinementOptions(kind=kind, steps=1, **FIXED_SCALES)
    start = _off(pose, 0.01)

    # The median depth is the scale's floor, and scales count as constants.
    depth = cells.camera_points[0, :, 2]
    scale = robust_scales(start, cells, options).metres / options.least_relative_depth
    others = torch.nonzero((depth - scale).abs() > 1e-9)[:, 0]

    def last_step(world: Tensor, some_camera: Tensor, weights: Tensor) -> Tensor:
        camera = cells.camera_points.index_copy(1, others, some_camera)
        step = Cells(world, camera, cells.rays, weights, cells.focal_length)
        refined = refine(start, step, options, differentiable_last_step=True)
        return refined.world_from_camera[:, :3]

    inputs = (cells.world_points, cells.camera_points[:, others], cells.weights)
    assert len(others) == 11
    assert torch.autograd.gradcheck(last_step, [part.clone().requires_grad_() for part in inputs])


def test_at_the_optimum_gradients_are_those_of_the_optimum(make_cells: MakeCells) -> None:
    """Numeric differentiation of the whole refinement, where Gauss-Newton is exact."""
    cells, pose = make_cells(seed=12, noise=0.0)
    options = RefinementOptions(steps=20, **FIXED_SCALES)
    world = cells.world_points.clone().requires_grad_()
    start = _off(pose, 0.01)
    refined = refine(start, replace(cells, world_points=world), options, True)
    direction = torch.sin(torch.arange(180, dtype=torch.float64)).reshape(1, 60, 3)
    (gradient,) = torch.autograd.grad(refined.world_from_camera[0, 0, 3], world)
    moved = [
        refine(start, replace(cells, world_points=cells.world_points + s * direction), options)
        for s in (-1e-5, 1e-5)
    ]
    slope = (moved[1].world_from_camera - moved[0].world_from_camera)[0, 0, 3] / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4)


def test_gradients_stay_finite_where_nothing_is_determined(make_cells: MakeCells) -> None:
    for kind in ('line', 'point', 'behind'):
        cells, pose = _cells_on(kind, make_cells)
        world = cells.world_points.clone().requires_grad_()
        weights = cells.weights.clone()
        weights[:, ::2] = 0
        weights.requires_grad_()
        changed = replace(cells, world_points=world, weights=weights)
        refined = refine(_off(pose), changed, differentiable_last_step=True)
        refined.world_from_camera.square().sum().backward()
        for leaf in (world, weights):
            assert leaf.grad is not None
            assert torch.isfinite(leaf.grad).all()
