"""Poses from world points and rays alone: exactness, OpenCV's SQPnP, and bad geometry."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc.cells import Cells
from implicit_loc.poses import invert, rigid_transform, transform_points
from implicit_loc.resection import resect

MakeCells = Callable[..., tuple[Cells, Tensor]]

SEEDS = st.integers(0, 2**31 - 1)


def _resected(cells: Cells) -> Tensor:
    return resect(cells.world_points, cells.rays, cells.weights)


def _cost(pose: Tensor, cells: Cells) -> Tensor:
    """Weighted mean squared distance of the points from their rays, (B,)."""
    seen = transform_points(invert(pose), cells.world_points)
    unit = torch.nn.functional.normalize(cells.rays, dim=-1)
    across = seen - (seen * unit).sum(dim=-1, keepdim=True) * unit
    shares = cells.weights / cells.weights.sum(dim=-1, keepdim=True)
    return (shares * across.square().sum(dim=-1)).sum(dim=-1)


def _by_opencv(cells: Cells) -> Tensor:
    """SQPnP, which has no weights and minimises nearly the same distances."""
    poses = []
    for points, rays in zip(cells.world_points, cells.rays, strict=True):
        # OpenCV works in float32 in places: points far from the origin would lose their digits.
        centre = points.mean(dim=0)
        found, rotation, translation = cv2.solvePnP(
            (points - centre).numpy(), rays[:, :2].numpy().copy(), np.eye(3), None,
            flags=cv2.SOLVEPNP_SQPNP,
        )  # fmt: skip
        assert found
        matrix = torch.from_numpy(cv2.Rodrigues(rotation)[0])
        moved = torch.from_numpy(translation[:, 0]) - matrix @ centre
        poses.append(invert(rigid_transform(matrix, moved)))
    return torch.stack(poses)


@given(SEEDS, st.integers(6, 80))
@settings(max_examples=60, deadline=None)
def test_exact_points_give_the_exact_pose(make_cells: MakeCells, seed: int, count: int) -> None:
    """To 1e-8, from any rotation, whatever the weights."""
    cells, pose = make_cells(seed, count=count, noise=0.0)
    torch.testing.assert_close(_resected(cells), pose, atol=1e-8, rtol=0)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_plane_gives_the_exact_pose(make_cells: MakeCells, seed: int) -> None:
    """Seen at any angle; the same plane behind the camera would fit as well."""
    cells, pose = make_cells(seed, noise=0.0)
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(3, generator=generator, dtype=torch.float64)
    normal[2] = normal[2].abs() + 0.9 * normal[:2].norm()
    depth = 3 * normal[2] / (cells.rays @ normal)
    world = transform_points(pose, depth[..., None] * cells.rays)
    found = _resected(replace(cells, world_points=world))
    torch.testing.assert_close(found, pose, atol=1e-8, rtol=0)


@given(SEEDS, st.floats(0.001, 0.3))
@settings(max_examples=60, deadline=None)
def test_no_pose_of_sqpnp_fits_better(make_cells: MakeCells, seed: int, noise: float) -> None:
    """The global minimum: an independent solver finds no lower one, only nearly the same."""
    cells, _ = make_cells(seed, batch=2, noise=noise)
    cells = replace(cells, weights=torch.ones_like(cells.weights))
    ours, theirs = _cost(_resected(cells), cells), _cost(_by_opencv(cells), cells)
    assert (ours <= theirs * (1 + 1e-9)).all()
    assert (theirs <= ours * 1.05).all()


def test_weights_lead_away_from_wrong_points(make_cells: MakeCells) -> None:
    """Points of weight zero may hold anything, NaN included."""
    cells, pose = make_cells(noise=0.0)
    world, weights = cells.world_points.clone(), cells.weights.clone()
    world[:, :20] += 3.0
    world[:, 20:25] = torch.nan
    weights[:, :25] = 0
    found = _resected(replace(cells, world_points=world, weights=weights))
    torch.testing.assert_close(found, pose, atol=1e-8, rtol=0)


def test_a_ray_without_length_says_nothing(make_cells: MakeCells) -> None:
    """It has no direction; the other cells still do."""
    cells, pose = make_cells(noise=0.0)
    rays = cells.rays.clone()
    rays[:, :5] = 0
    torch.testing.assert_close(_resected(replace(cells, rays=rays)), pose, atol=1e-8, rtol=0)


@pytest.mark.parametrize('scale', [1e-30, 1.0, 1e30])
def test_the_scale_of_the_weights_does_not_matter(make_cells: MakeCells, scale: float) -> None:
    cells, _ = make_cells()
    scaled = replace(cells, weights=scale * cells.weights)
    torch.testing.assert_close(_resected(scaled), _resected(cells))


def test_a_batch_is_its_images_one_by_one(make_cells: MakeCells) -> None:
    cells, _ = make_cells(batch=4, outliers=0.3)
    together = _resected(cells)
    for index in range(4):
        alone = _resected(cells.map(lambda values, index=index: values[index : index + 1]))
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-12, rtol=0)


def test_maps_far_from_their_origin_lose_nothing(make_cells: MakeCells) -> None:
    """As UTM coordinates are: 1000 km in float64; in float32 as much as the points have."""
    cells, pose = make_cells(noise=0.0)
    offset = torch.tensor([4e5, 5e6, 100.0], dtype=torch.float64)
    far = replace(cells, world_points=cells.world_points + offset)
    pose = pose.clone()
    pose[:, :3, 3] += offset
    torch.testing.assert_close(_resected(far), pose, atol=1e-7, rtol=0)
    single, pose = make_cells(noise=0.0)
    found = _resected(single.map(Tensor.float))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pose.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize('kind', ['no weights', 'one cell', 'line', 'one point', 'at the centre'])
def test_points_that_determine_no_pose_give_a_finite_one(make_cells: MakeCells, kind: str) -> None:
    """A rotation and a position, never an exception: whoever calls decides what to make of it."""
    cells, pose = make_cells()
    world, weights = cells.world_points.clone(), cells.weights.clone()
    if kind == 'no weights':
        weights[:] = 0
    if kind == 'one cell':
        weights[:, 1:] = 0
    if kind == 'line':
        world[:] = torch.linspace(0, 1, 60)[None, :, None] * torch.tensor([1.0, 2.0, 3.0])
    if kind == 'one point':
        world[:] = 1.5
    if kind == 'at the centre':
        world[:] = pose[:, None, :3, 3]
    found = _resected(replace(cells, world_points=world, weights=weights))
    assert found.isfinite().all()
    identity = torch.eye(3, dtype=torch.float64)[None]
    torch.testing.assert_close(found[:, :3, :3] @ found[:, :3, :3].mT, identity)


def test_nothing_depends_on_the_values_of_tensors() -> None:
    """Tensors without values pass: no branch on a value, no shape that follows from one."""
    points = torch.empty(2, 50, 3, dtype=torch.float64, device='meta')
    assert resect(points, points, points[..., 0]).shape == (2, 4, 4)
