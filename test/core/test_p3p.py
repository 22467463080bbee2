"""Poses from three points."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc.cells import Cells
from implicit_loc.p3p import p3p
from implicit_loc.poses import invert, transform_points

MakeCells = Callable[..., tuple[Cells, Tensor]]


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_one_of_the_solutions_is_the_pose(make_cells: MakeCells, seed: int) -> None:
    cells, pose = make_cells(seed, batch=20, count=3, noise=0.0)
    found, valid = p3p(cells.world_points, cells.rays)
    differences = (found - invert(pose)[:, None]).abs().amax(dim=(-1, -2))
    nearest = torch.where(valid, differences, torch.inf).amin(dim=-1)
    assert (nearest < 1e-5).all()
    assert nearest.median() < 1e-9


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_every_solution_sees_the_points_on_their_rays(make_cells: MakeCells, seed: int) -> None:
    """Also where no pose was behind them: noisy points have solutions, or none."""
    cells, _ = make_cells(seed, batch=20, count=3, noise=0.3)
    found, valid = p3p(cells.world_points, cells.rays)
    seen = transform_points(found, cells.world_points[:, None])
    unit = torch.nn.functional.normalize(cells.rays, dim=-1)[:, None]
    along = (seen * unit).sum(dim=-1, keepdim=True)
    across = (seen - along * unit).norm(dim=-1).amax(dim=-1)
    assert (along[..., 0] > 0)[valid].all()
    assert (across[valid] < 1e-4).all()
    identity = torch.eye(3, dtype=torch.float64).expand_as(found[..., :3, :3])
    torch.testing.assert_close(found[..., :3, :3].mT @ found[..., :3, :3], identity)


@pytest.mark.parametrize('kind', ['one point', 'line', 'same ray', 'zero', 'huge'])
def test_what_has_no_solution_gives_the_identity(make_cells: MakeCells, kind: str) -> None:
    """Or some pose, if it is finite: nothing else may come out of bad triangles."""
    cells, _ = make_cells(count=3, noise=0.0)
    points, rays = cells.world_points.clone(), cells.rays.clone()
    if kind == 'one point':
        points[:] = points[:, :1]
    if kind == 'line':
        points[:, 2] = 2 * points[:, 1] - points[:, 0]
    if kind == 'same ray':
        rays[:] = rays[:, :1]
    if kind == 'zero':
        points[:] = 0
    if kind == 'huge':
        points *= 1e12
    found, valid = p3p(points, rays)
    assert found.isfinite().all()
    assert torch.equal(found[~valid], torch.eye(4).double().expand_as(found[~valid]))
