"""The robust fallback: outliers, determinism, bad geometry."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.consensus import consensus, soft_inliers
from implicit_loc.poses import angle_between

MakeCells = Callable[..., tuple[Cells, Tensor]]


def _errors(found: Tensor, true: Tensor) -> tuple[float, float]:
    """Largest errors of a batch, metres and radians."""
    distance = (found[:, :3, 3] - true[:, :3, 3]).norm(dim=-1)
    angle = angle_between(found[:, :3, :3], true[:, :3, :3])
    return float(distance.max()), float(angle.max())


@pytest.mark.parametrize('outliers', [0.0, 0.3, 0.5, 0.7])
def test_the_pose_is_found_among_outliers(make_cells: MakeCells, outliers: float) -> None:
    """Up to 70 % of them, where every least-squares solution is metres off."""
    cells, pose = make_cells(1, batch=6, count=1200, noise=0.01, outliers=outliers)
    distance, angle = _errors(consensus(cells), pose)
    assert distance < 0.03
    assert angle < 0.01


def test_no_depth_is_needed(make_cells: MakeCells) -> None:
    """P3P finds what a wrong depth hides from the rigid hypotheses."""
    cells, pose = make_cells(2, batch=6, count=1200, noise=0.01, outliers=0.5)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 1200, 1, generator=generator, dtype=torch.float64)
    wrong = replace(cells, camera_points=cells.camera_points * torch.exp(0.4 * noise))
    distance, angle = _errors(consensus(wrong), pose)
    assert distance < 0.05
    assert angle < 0.02


def test_the_same_cells_give_the_same_pose(make_cells: MakeCells) -> None:
    """To the last bit, whatever happened before."""
    cells, _ = make_cells(3, count=1200, outliers=0.5)
    first = consensus(cells)
    torch.manual_seed(7)
    consensus(make_cells(4, count=300)[0])
    assert torch.equal(first, consensus(cells))


def test_a_batch_is_its_images_one_by_one(make_cells: MakeCells) -> None:
    cells, _ = make_cells(5, batch=3, count=600, outliers=0.4)
    together = consensus(cells)
    for index in range(3):
        alone = consensus(cells.map(lambda values, index=index: values[index : index + 1]))
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-6, rtol=0)


def test_single_precision_is_enough(make_cells: MakeCells) -> None:
    cells, pose = make_cells(6, count=1200, noise=0.01, outliers=0.5)
    found = consensus(cells.map(Tensor.float))
    assert found.dtype == torch.float32
    distance, _ = _errors(found, pose.float())
    assert distance < 0.03


def test_cells_without_weight_are_never_drawn(make_cells: MakeCells) -> None:
    """A cell that is wrong and has no weight is as if it were not there."""
    cells, pose = make_cells(7, count=1200, noise=0.0)
    weights = cells.weights.clone()
    world = cells.world_points.clone()
    weights[:, 100:1100] = 0
    world[:, 100:1100] = 9.0
    found = consensus(replace(cells, weights=weights, world_points=world))
    distance, _ = _errors(found, pose)
    assert distance < 1e-6


@pytest.mark.parametrize('kind', ['three cells', 'plane', 'line', 'one point', 'random'])
def test_bad_geometry_gives_a_rigid_pose(make_cells: MakeCells, kind: str) -> None:
    """Some pose, with what share of inliers it deserves."""
    cells, _ = make_cells(8, count=200)
    world, weights = cells.world_points.clone(), cells.weights.clone()
    if kind == 'three cells':
        weights[:, 3:] = 0
    if kind == 'plane':
        world[..., 2] = 0
    if kind == 'line':
        world[..., 1:] = 0
    if kind == 'one point':
        world[:] = 1.0
    if kind == 'random':
        generator = torch.Generator().manual_seed(1)
        world = 5 * torch.randn(world.shape, generator=generator, dtype=torch.float64)
    pose = consensus(replace(cells, world_points=world, weights=weights))
    assert pose.isfinite().all()
    identity = torch.eye(3, dtype=torch.float64).expand(len(pose), 3, 3)
    torch.testing.assert_close(pose[:, :3, :3] @ pose[:, :3, :3].mT, identity)


def test_inliers_are_counted_softly_and_in_front(make_cells: MakeCells) -> None:
    """One where the error is none, a half at the threshold, none behind the camera."""
    cells, pose = make_cells(9, noise=0.0)
    assert (soft_inliers(pose[:, None], cells) > 0.99).all()
    turned = pose.clone()
    turned[:, :3, :3] = pose[:, :3, :3] @ torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()
    assert (soft_inliers(turned[:, None], cells) == 0).all()


@pytest.mark.filterwarnings('error')
def test_an_error_beyond_the_range_of_numbers_agrees_with_nothing(make_cells: MakeCells) -> None:
    """Quietly: NumPy would warn, which a robot's log need not know."""
    cells, pose = make_cells(10, noise=0.0)
    rays = cells.rays.clone()
    rays[:, :5, 0] = 1e160
    found = soft_inliers(pose[:, None], replace(cells, rays=rays))[:, 0]
    assert (found[:, :5] == 0).all()
    assert (found[:, 5:] > 0.99).all()


def test_nothing_depends_on_the_values_of_tensors() -> None:
    """Tensors without values pass: no branch on a value, no shape that follows from one."""
    points = torch.empty(2, 600, 3, dtype=torch.float64, device='meta')
    cells = Cells(points, points, points, points[..., 0], points[:, 0, 0])
    assert consensus(cells).shape == (2, 4, 4)
