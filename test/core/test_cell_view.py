"""Of very many cells some are taken, and those are cells that count."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.poses import exp_se3
from implicit_loc.refinement import refine

MakeCells = Callable[..., tuple[Cells, Tensor]]


def test_few_cells_with_weight_are_found_among_very_many(make_cells: MakeCells) -> None:
    """As under a mask; evenly taken cells could all be without weight."""
    cells, pose = make_cells(seed=6, count=4800, noise=0.01)
    free = torch.arange(4800) % 97 == 1
    masked = replace(cells, weights=cells.weights * free)
    start = pose @ exp_se3(torch.full((1, 6), 0.1, dtype=torch.float64))
    refined = refine(start, masked)
    alone = Cells(
        cells.world_points[:, free],
        cells.camera_points[:, free],
        cells.rays[:, free],
        cells.weights[:, free],
        cells.focal_length,
    )
    expected = refine(start, alone)
    assert refined.improved.all()
    # The first steps take some of them twice.
    found, wanted = refined.world_from_camera, expected.world_from_camera
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(refine(start, masked, rival=pose).start, pose, atol=0, rtol=0)
