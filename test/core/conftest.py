"""What tests of the solvers share: cells of a made-up camera with a known pose."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.poses import exp_se3, transform_points

FOCAL_LENGTH = 260.0

MakeCells = Callable[..., tuple[Cells, Tensor]]


@pytest.fixture(scope='session')
def make_cells() -> MakeCells:
    """`make_cells(seed, batch, count, ...)` -> cells, world_from_camera (B, 4, 4)."""
    return _make_cells


def _make_cells(
    seed: int = 0,
    batch: int = 1,
    count: int = 60,
    noise: float = 0.02,
    outliers: float = 0.0,
    outlier_size: float = 2.0,
) -> tuple[Cells, Tensor]:
    """Points at 1 to 5 m, float64; noise and outlier_size in metres, outliers as a share."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        numbers = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * numbers

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    pose = exp_se3(normal(batch, 6) * torch.tensor([3.0, 3.0, 3.0, 1.0, 1.0, 1.0]))
    rays = uniform(batch, count, 3, low=-0.6, high=0.6)
    rays[..., 2] = 1
    depth = uniform(batch, count, 1, low=1, high=5)
    world = transform_points(pose, depth * rays) + noise * normal(batch, count, 3)
    wrong = uniform(batch, count, 1) < outliers
    world = torch.where(wrong, world + outlier_size * normal(batch, count, 3), world)
    predicted = depth + noise * normal(batch, count, 1)
    focal_length = torch.full((batch,), FOCAL_LENGTH, dtype=torch.float64)
    weights = uniform(batch, count, low=0.1)
    return Cells(world, predicted * rays, rays, weights, focal_length), pose
