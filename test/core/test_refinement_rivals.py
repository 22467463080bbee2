"""Of two starts refinement takes the one that fits, also where the other one is no pose at all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.poses import exp_se3
from implicit_loc.refinement import refine

MakeCells = Callable[..., tuple[Cells, Tensor]]


def _not_there(pose: Tensor, kind: str) -> Tensor:
    """The pose (B, 4, 4), with a position from which no cell is in sight, or with none."""
    if kind == 'NaN':
        return torch.full_like(pose, torch.nan)
    changed = pose.clone()
    if kind == 'rotation':
        changed[:, :3, :3] = torch.nan
    else:
        changed[:, :3, 3] = {'position': torch.nan, 'infinite': torch.inf, 'far': 1e12}[kind]
    return changed


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('recorded', [False, True], ids=['NumPy', 'PyTorch'])
@pytest.mark.parametrize('is_start', [True, False], ids=['start', 'rival'])
@pytest.mark.parametrize('kind', ['NaN', 'position', 'rotation', 'infinite', 'far'])
def test_what_is_no_pose_never_wins(
    make_cells: MakeCells, kind: str, is_start: bool, recorded: bool
) -> None:
    """Nothing is seen from there, so no cell speaks against it; nor does it harm the other."""
    cells, pose = make_cells(seed=2, batch=2, count=300, noise=0.01)
    good = pose @ exp_se3(torch.full((2, 6), 0.02, dtype=pose.dtype))
    # Of one image only: the other one has two starts that fit equally well.
    bad = torch.cat([_not_there(good[:1], kind), good[1:]])
    world = cells.world_points.clone().requires_grad_(recorded)
    given = replace(cells, world_points=world)
    start, rival = (bad, good) if is_start else (good, bad)
    refined = refine(start, given, differentiable_last_step=recorded, rival=rival)
    alone = refine(good, given, differentiable_last_step=recorded)
    torch.testing.assert_close(refined.start, good, atol=0, rtol=0)
    torch.testing.assert_close(refined.world_from_camera, alone.world_from_camera)
    assert refined.improved.all()
    assert (refined.world_from_camera - pose)[:, :3, 3].norm(dim=-1).max() < 0.02
    if recorded:
        refined.world_from_camera.sum().backward()
        assert world.grad is not None
        assert world.grad.isfinite().all()
        assert (world.grad != 0).any(dim=-1).any(dim=-1).all()
