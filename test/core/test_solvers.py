"""The table of solvers: what each is good for, and what all refuse."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc.cells import Cells
from implicit_loc.errors import AlignmentError, ImplicitLocError
from implicit_loc.poses import angle_between
from implicit_loc.solvers import DEFAULT_SOLVER, SOLVERS, inlier_ratio, solve

MakeCells = Callable[..., tuple[Cells, Tensor]]

OPTIMAL = [name for name in SOLVERS if not name.endswith('ransac')]


def _distance(found: Tensor, true: Tensor) -> float:
    return float((found[:, :3, 3] - true[:, :3, 3]).norm(dim=-1).max())


def _angle(found: Tensor, true: Tensor) -> float:
    return float(angle_between(found[:, :3, :3], true[:, :3, :3]).max())


@pytest.mark.parametrize('solver', list(SOLVERS))
def test_every_solver_finds_the_pose_of_exact_cells(make_cells: MakeCells, solver: str) -> None:
    """Of every image of a batch, and says what it did."""
    cells, pose = make_cells(batch=2, count=300, noise=0.0)
    solution = solve(cells, solver)
    assert _distance(solution.world_from_camera, pose) < 1e-4
    assert _angle(solution.world_from_camera, pose) < 1e-4
    assert _distance(solution.first_pose, pose) < 1e-4
    assert not solution.used_consensus.any()
    assert all(seconds >= 0 for seconds in solution.timings.values())


@pytest.mark.parametrize('solver', list(SOLVERS))
def test_the_same_cells_give_the_same_pose(make_cells: MakeCells, solver: str) -> None:
    """To the last bit: no solver draws from a shared generator."""
    cells, _ = make_cells(count=300, outliers=0.4)
    first = solve(cells, solver).world_from_camera
    torch.rand(3)
    assert torch.equal(first, solve(cells, solver).world_from_camera)


def test_robust_solvers_stand_outliers_and_others_do_not(make_cells: MakeCells) -> None:
    """Which is why they are in the table."""
    cells, pose = make_cells(2, count=600, noise=0.01, outliers=0.4)
    errors = {name: _distance(solve(cells, name).world_from_camera, pose) for name in SOLVERS}
    assert max(errors[name] for name in ('rigid_ransac', 'pnp_ransac', 'robust')) < 0.03
    assert errors['unweighted'] > 0.05
    assert errors['weighted'] > 0.05


def _mostly_wrong(make_cells: MakeCells) -> tuple[Cells, Tensor]:
    """Three quarters of the cells agree on nothing."""
    cells, pose = make_cells(3, count=1200, noise=0.01)
    generator = torch.Generator().manual_seed(0)
    world = cells.world_points.clone()
    wrong = torch.rand(1200, generator=generator) < 0.75
    noise = torch.randn(1, int(wrong.sum()), 3, generator=generator, dtype=torch.float64)
    world[:, wrong] = pose[:, None, :3, 3] + 3 * noise
    return replace(cells, world_points=world), pose


def test_the_fallback_takes_over_where_few_cells_agree(make_cells: MakeCells) -> None:
    """And only there: the other image of the batch keeps its refined pose."""
    hard, hard_pose = _mostly_wrong(make_cells)
    easy, easy_pose = make_cells(4, count=1200, noise=0.01)
    names = vars(hard)
    both = Cells(*(torch.cat([getattr(hard, n), getattr(easy, n)]) for n in names))
    solution = solve(both, 'robust')
    refined = solve(both, 'refined').world_from_camera
    assert solution.used_consensus.tolist() == [True, False]
    assert _distance(refined[:1], hard_pose) > 1
    assert _distance(solution.world_from_camera[:1], hard_pose) < 0.05
    assert torch.equal(solution.world_from_camera[1:], refined[1:])
    assert _distance(solution.world_from_camera[1:], easy_pose) < 0.02
    assert solution.timings['consensus'] > 0


def test_the_start_without_depth_is_taken_where_the_depth_is_wrong(make_cells: MakeCells) -> None:
    """And the one with depth where the points off their rays say so."""
    cells, pose = make_cells(5, count=300, noise=0.01)
    far = replace(cells, camera_points=1.5 * cells.camera_points)
    assert _distance(solve(far, 'weighted').world_from_camera, pose) > 0.5
    assert _distance(solve(far, 'refined').first_pose, pose) < 0.05


@pytest.mark.parametrize('solver', ['refined', 'robust'])
@pytest.mark.parametrize('factor', [1e9, 1e12])
@pytest.mark.parametrize('every', [1, 2])
def test_a_depth_without_bounds_costs_only_the_depth(
    make_cells: MakeCells, solver: str, factor: float, every: int
) -> None:
    """From so far away no cell is in sight: such a start must not pass for one that fits."""
    cells, pose = make_cells(13, count=300, noise=0.01)
    camera = cells.camera_points.clone()
    camera[:, ::every] *= factor
    found = solve(replace(cells, camera_points=camera), solver).world_from_camera
    assert _distance(found, pose) < 0.02


def test_refinement_is_better_than_what_it_began_with(make_cells: MakeCells) -> None:
    """On average over noisy problems with outliers."""
    cells, pose = make_cells(6, batch=20, count=300, noise=0.02, outliers=0.1)
    solution = solve(cells, 'refined')
    before = (solution.first_pose[:, :3, 3] - pose[:, :3, 3]).norm(dim=-1)
    after = (solution.world_from_camera[:, :3, 3] - pose[:, :3, 3]).norm(dim=-1)
    assert after.mean() < 0.5 * before.mean()


@pytest.mark.parametrize('solver', OPTIMAL)
def test_points_behind_the_camera_are_refused(make_cells: MakeCells, solver: str) -> None:
    cells, _ = make_cells(7, count=300, noise=0.0)
    behind = replace(cells, camera_points=-cells.camera_points, rays=-cells.rays)
    with pytest.raises(AlignmentError, match='behind the camera'):
        solve(behind, solver)


@given(
    seed=st.integers(0, 2**31 - 1),
    solver=st.sampled_from(list(SOLVERS)),
    kind=st.sampled_from(['noise', 'huge', 'tiny', 'NaN', 'repeated', 'plane', 'few', 'weights']),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_predicted_gives_a_finite_pose_or_a_reason(
    make_cells: MakeCells, seed: int, solver: str, kind: str
) -> None:
    """Never another exception, never a pose that is none."""
    cells, _ = make_cells(seed, count=80)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(cells.world_points.shape, generator=generator, dtype=torch.float64)
    chosen = torch.rand(cells.weights.shape, generator=generator) < 0.5
    if kind == 'noise':
        cells = replace(cells, world_points=noise)
    if kind == 'huge':
        cells = replace(cells, world_points=cells.world_points * 1e12)
    if kind == 'tiny':
        cells = replace(cells, world_points=cells.world_points * 1e-9)
    if kind == 'NaN':
        cells = replace(cells, world_points=torch.where(chosen[..., None], torch.nan, noise))
    if kind == 'repeated':
        repeated = torch.where(chosen[..., None], cells.world_points[:, :1], cells.world_points)
        cells = replace(cells, world_points=repeated)
    if kind == 'plane':
        cells = replace(cells, world_points=noise * torch.tensor([1.0, 1.0, 0.0]).double())
    if kind == 'few':
        weights = cells.weights.clone()
        weights[:, 3:] = 0
        cells = replace(cells, weights=weights)
    if kind == 'weights':
        cells = replace(cells, weights=10.0 ** (300 - 600 * chosen.double()))
    try:
        pose = solve(cells, solver).world_from_camera
    except AlignmentError:
        return
    _require_rigid(pose)


def _require_rigid(pose: Tensor) -> None:
    assert pose.isfinite().all()
    identity = torch.eye(3, dtype=torch.float64).expand(len(pose), 3, 3)
    torch.testing.assert_close(pose[:, :3, :3] @ pose[:, :3, :3].mT, identity)


@pytest.mark.parametrize('solver', ['refined', 'robust'])
@pytest.mark.parametrize('spread', [1e-13, 1e-9, 1e-5, 4e-3])
def test_a_world_that_is_nearly_one_point_gives_a_rigid_pose_or_a_reason(
    make_cells: MakeCells, solver: str, spread: float
) -> None:
    """The frame of a triangle without area is no rotation."""
    for seed in range(8):
        cells, _ = make_cells(seed, count=80)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(cells.world_points.shape, generator=generator, dtype=torch.float64)
        chosen = torch.rand(cells.weights.shape, generator=generator) < 0.9
        small = cells.world_points[:, :1] + spread * noise
        world = torch.where(chosen[..., None], small, cells.world_points)
        with suppress(AlignmentError):
            _require_rigid(solve(replace(cells, world_points=world), solver).world_from_camera)


@pytest.mark.filterwarnings('error')
def test_without_weight_no_share_of_it_agrees(make_cells: MakeCells) -> None:
    """Quietly: NumPy would warn, which a robot's log need not know."""
    cells, pose = make_cells()
    assert inlier_ratio(pose, replace(cells, weights=torch.zeros_like(cells.weights))).isnan()


def test_an_unknown_solver_is_refused_with_the_known_ones(make_cells: MakeCells) -> None:
    assert DEFAULT_SOLVER in SOLVERS
    with pytest.raises(ImplicitLocError, match='known are unweighted, weighted'):
        solve(make_cells()[0], 'ransac')
