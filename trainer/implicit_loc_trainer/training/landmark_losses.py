"""How far the predicted geometry is from landmarks of known place.

The reprojection error of one view leaves the distance along the ray open; it is the agreement of
many views that fixes it, late and roughly. Features that were followed and triangulated beforehand
say it at once, from the same images and poses.
"""

import torch
from torch import Tensor
from torch.nn import functional

from implicit_loc.network import SceneGeometry
from implicit_loc_trainer.training.distributed.processes import global_mean
from implicit_loc_trainer.training.loading import Batch


def landmark_losses(
    predicted: SceneGeometry[Tensor], batch: Batch, stride: int
) -> tuple[Tensor, Tensor]:
    """Mean |g - X| and mean error of the depth at the landmarks of a batch, metres.

    Geometry is interpolated between the cells to the landmarks' pixels; cells that are not valid
    have none.

    Args:
        predicted: of the batch's images, (B, h, w).
        batch: with landmarks (B, N, 6); without any, both losses are 0.
        stride: input pixels per cell.
    """
    pixels, world_points, depth = batch.landmarks.split((2, 3, 1), dim=-1)
    rows, columns = batch.valid.shape[1:]
    size = torch.tensor((columns, rows), dtype=pixels.dtype, device=pixels.device)
    # Cell j looks through pixel (j + 0.5) s - 0.5; grid_sample counts from -1 to 1 over all cells.
    grid = ((pixels + 0.5) / stride / size * 2 - 1)[:, None]
    found = _sample(predicted.world_points.permute(0, 3, 1, 2), grid)
    found_depth = _sample(predicted.depth[:, None], grid)[..., 0]
    nearest = functional.grid_sample(
        batch.valid[:, None].to(grid.dtype), grid, mode='nearest', align_corners=False
    )
    counts = (depth[..., 0] > 0) & (nearest[:, 0, 0] > 0.5)
    distance = ((found - world_points).square().sum(dim=-1) + 1e-12).sqrt()
    return (
        global_mean(distance, counts),
        global_mean((found_depth - depth[..., 0]).abs(), counts),
    )


def _sample(field: Tensor, grid: Tensor) -> Tensor:
    """(B, C, h, w) at (B, 1, N, 2) -> (B, N, C); beyond the outer cells, their values."""
    values = functional.grid_sample(
        field, grid, mode='bilinear', padding_mode='border', align_corners=False
    )
    return values[:, :, 0].transpose(1, 2)
