"""Cells of a prediction, and which of them determine a pose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc.camera import Camera
from implicit_loc.cells import Cells, cells_of_prediction, usable_cells
from implicit_loc.errors import AlignmentError
from implicit_loc.network import SceneGeometry

MakeCells = Callable[..., tuple[Cells, Tensor]]


def test_cells_come_row_by_row_in_double_precision(small_camera: Camera) -> None:
    """Camera points are depth times ray."""
    rays = small_camera.rays(8)
    depth = np.arange(rays[..., 0].size, dtype=np.float32).reshape(rays.shape[:2])
    cells = cells_of_prediction(SceneGeometry(2 * rays, depth, depth / 500), small_camera, 8)
    assert cells.world_points.dtype == torch.float64
    assert cells.weights.shape == (1, 300)
    torch.testing.assert_close(cells.camera_points[0, :, 2], torch.arange(300.0).double())
    torch.testing.assert_close(cells.rays[0].numpy(), rays.reshape(-1, 3).astype(np.float64))
    assert float(cells.focal_length) == small_camera.focal_length


def test_cells_without_a_ray_have_no_weight() -> None:
    """As in the corners of a fisheye's image; nothing in them is NaN."""
    fisheye = Camera(160, 120, 40.0, 40.0, 79.5, 59.5, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    blind = ~np.isfinite(fisheye.rays(8)).all(axis=-1)
    assert blind.any()
    ones = np.ones((15, 20), np.float32)
    cells = cells_of_prediction(
        SceneGeometry(np.ones((15, 20, 3), np.float32), ones, ones), fisheye, 8
    )
    np.testing.assert_array_equal(cells.weights[0] == 0, blind.ravel())
    assert cells.rays.isfinite().all()


@given(st.integers(0, 2**31 - 1), st.sampled_from(['world_points', 'camera_points', 'weights']))
@settings(max_examples=30, deadline=None)
def test_cells_that_are_not_finite_are_left_out(
    make_cells: MakeCells, seed: int, name: str
) -> None:
    """The others stay as they are."""
    cells, _ = make_cells(seed)
    values = getattr(cells, name).clone()
    values[:, 5:9] = torch.tensor([torch.nan, torch.inf, -torch.inf, torch.nan])[
        (None, ...) if values.ndim == 2 else (None, ..., None)
    ]
    found = usable_cells(replace(cells, **{name: values}))
    assert (found.weights[:, 5:9] == 0).all()
    for kept, given_values in zip(vars(found).values(), vars(cells).values(), strict=True):
        assert kept.isfinite().all()
        if kept.ndim > 1:
            torch.testing.assert_close(kept[:, 9:], given_values[:, 9:])


def _spoiled(kind: str, cells: Cells) -> Cells:
    parts = {name: values.clone() for name, values in vars(cells).items()}
    line = torch.linspace(1, 2, 60).double()[:, None] * torch.tensor([1.0, 2.0, 3.0]).double()
    if kind == 'all weights zero':
        parts['weights'][:] = 0
    if kind == 'two cells':
        parts['weights'][:, 2:] = 0
    if kind == 'negative weight':
        parts['weights'][:, 7] = -0.1
    if kind == 'NaN weights':
        parts['weights'][:] = torch.nan
    if kind == 'NaN world points':
        parts['world_points'][..., 1] = torch.nan
    if kind == 'infinite camera points':
        parts['camera_points'][..., 2] = torch.inf
    if kind == 'no cell is finite as a whole':
        parts['world_points'][:, :30] = torch.nan
        parts['camera_points'][:, 30:] = torch.nan
    if kind == 'camera points on a line':
        parts['camera_points'][:] = line
    if kind == 'world points on a line':
        parts['world_points'][:] = line
    if kind == 'one point':
        parts['world_points'][:] = 1.0
    if kind == 'all but two on one point':
        parts['weights'][:, 2:] = 1e-9
        parts['world_points'][:, 2:] = parts['world_points'][:, :1]
    return Cells(**parts)


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('all weights zero', '0 cells have weight'),
        ('two cells', '2 cells have weight'),
        ('negative weight', '1 cells have a negative weight'),
        ('NaN weights', 'weights are not finite'),
        ('NaN world points', 'world points are not finite'),
        ('infinite camera points', 'camera points are not finite'),
        ('no cell is finite as a whole', 'camera points are not finite'),
        ('camera points on a line', 'line or in one point'),
        ('world points on a line', 'line or in one point'),
        ('one point', 'line or in one point'),
        ('all but two on one point', 'line or in one point'),
    ],
)
def test_cells_without_a_pose_are_refused(make_cells: MakeCells, kind: str, message: str) -> None:
    """Each with its own reason, also as one image of a batch."""
    cells, _ = make_cells()
    spoiled = _spoiled(kind, cells)
    with pytest.raises(AlignmentError, match=message):
        usable_cells(spoiled)
    names = vars(cells)
    batch = Cells(*(torch.cat([getattr(cells, n), getattr(spoiled, n)]) for n in names))
    with pytest.raises(AlignmentError, match=message):
        usable_cells(batch)


def test_a_plane_is_enough(make_cells: MakeCells) -> None:
    """A wall fixes a rotation."""
    cells, _ = make_cells()
    flat = replace(cells, camera_points=2 * cells.rays, world_points=2 * cells.rays)
    torch.testing.assert_close(usable_cells(flat).weights, cells.weights)
