"""The robust fallback: the pose on which most cells agree, from minimal hypotheses.

Triangles of three cells are drawn and those kept that are most alike in the two predicted clouds;
they give poses by rigid alignment, which believes the depth, and by P3P, which does not. The ones
with most inliers are refined. Nothing is drawn at random: which cells are tried follows from
their weights and a fixed sequence, so that the same input gives the same pose, always.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from implicit_loc.arrays import Array, lightest, namespace, to_torch, unwarned
from implicit_loc.cells import Cells
from implicit_loc.p3p import p3p, triad
from implicit_loc.poses import invert, rigid_transform
from implicit_loc.refinement import RefinementOptions, refine

# Triangles that are looked at, and the most congruent ones that are tried.
_TRIANGLES = 2048
_RIGID_TRIANGLES = 128
_P3P_TRIANGLES = 32

# Cells on which all hypotheses are compared, and those on which the best of them are refined.
_SCORED_CELLS = 256
_REFINED_CELLS = 512
_REFINED_HYPOTHESES = 4
_SHORT = RefinementOptions(steps=4)

# Error at which a cell counts half: 20 px for a camera of 640 x 480 pixels and 525 px of focal
# length, twice the threshold of Altillawi et al. 2023, which is for the least inaccurate cells;
# and the share of it over which the count fades.
INLIER_TANGENT = 20.0 / 525.0
_SOFTNESS = 0.2

_LEAST_DEPTH_M = 0.05

# How far R R^T of a triangle's rotation may be from the identity: rounding, and no more.
_ORTHONORMAL = {torch.float64: 1e-9, torch.float32: 1e-4}


def consensus(cells: Cells) -> Tensor:
    """The pose with the largest weighted share of soft inliers, refined on them.

    Args:
        cells: of B images, finite; each with at least three cells of positive weight.

    Returns:
        world_from_camera, (B, 4, 4), finite.
    """
    proposals, exist = _proposals(cells)
    # Where there are fewer than are refined, one that does not exist is taken, and must be a pose.
    identity = torch.eye(4, dtype=proposals.dtype, device=proposals.device)
    proposals = torch.where(exist[..., None, None], proposals, identity)
    scored = _drawn(cells, _SCORED_CELLS)
    scores = torch.where(exist, soft_inliers(proposals, scored).mean(dim=-1), -1)
    best = scores.topk(_REFINED_HYPOTHESES, dim=-1).indices[..., None, None]
    starts = proposals.gather(1, best.expand(-1, -1, 4, 4))
    subset = _drawn(cells, _REFINED_CELLS)
    refined = _refined_on_inliers(starts, subset, _SHORT)
    scores = soft_inliers(refined, subset).mean(dim=-1)
    best = scores.argmax(dim=-1)[:, None, None, None]
    pose = refined.gather(1, best.expand(-1, -1, 4, 4))
    return _refined_on_inliers(pose, cells, RefinementOptions())[:, 0]


def soft_inliers(world_from_camera: Tensor, cells: Cells) -> Tensor:
    """How far each cell agrees with poses, in [0, 1], by its reprojection error.

    Args:
        world_from_camera: H poses of each image, (B, H, 4, 4).
        cells: of the images.

    Returns:
        (B, H, N); 0 behind the camera.
    """
    given = lightest(world_from_camera, cells.world_points, cells.rays)
    with unwarned():
        return to_torch(_agreement(*given))


def _agreement(poses: Array, points: Array, rays: Array) -> Array:
    """As `soft_inliers`, of world points and rays (B, N, 3)."""
    xp = namespace(poses)
    rotation = xp.swapaxes(poses[..., :3, :3], -1, -2)
    seen = rotation @ xp.swapaxes(points, 1, 2)[:, None] - rotation @ poses[..., :3, 3:]
    depth = seen[..., 2, :]
    in_front = depth > _LEAST_DEPTH_M
    tangents = seen[..., :2, :] / xp.where(in_front, depth, 1)[..., None, :]
    offsets = tangents - xp.swapaxes(rays[..., :2], 1, 2)[:, None]
    errors = (offsets * offsets).sum(axis=-2) ** 0.5
    outlying = xp.exp((errors / INLIER_TANGENT - 1) / _SOFTNESS)
    return xp.where(in_front, 1 / (1 + outlying), 0)


def _refined_on_inliers(poses: Tensor, cells: Cells, options: RefinementOptions) -> Tensor:
    """Each of H poses (B, H, 4, 4), refined on the cells that agree with it.

    Beyond half of outliers the scale of all residuals is theirs, and no robust cost helps.
    """
    count = poses.shape[1]
    many = cells.map(lambda values: values.repeat_interleave(count, dim=0))
    inliers = (many.weights[:, None] * soft_inliers(poses.flatten(0, 1)[:, None], many))[:, 0]
    many = replace(many, weights=inliers)
    refined = refine(poses.flatten(0, 1), many, options).world_from_camera
    return refined.unflatten(0, poses.shape[:2])


def _proposals(cells: Cells) -> tuple[Tensor, Tensor]:
    """world_from_camera of all hypotheses, (B, H, 4, 4), and which of them exist, (B, H)."""
    shares = _pattern(str(cells.weights.device))
    chosen = _cells_at(cells.weights, shares.flatten())
    # (B, triangles, 3, 3): one corner per row.
    world, camera, rays = (
        _taken(values, chosen).unflatten(1, (-1, 3))
        for values in (cells.world_points, cells.camera_points, cells.rays)
    )
    unlike = _incongruence(world, camera)
    order = unlike.topk(_RIGID_TRIANGLES, dim=-1, largest=False).indices[..., None, None]
    world, camera, rays = (
        values.gather(1, order.expand(-1, -1, 3, 3)) for values in (world, camera, rays)
    )
    rotation = triad(world) @ triad(camera).mT
    turned = rotation @ camera.mean(dim=-2)[..., None]
    rigid = rigid_transform(rotation, world.mean(dim=-2) - turned[..., 0])
    camera_from_world, solved = p3p(world[:, :_P3P_TRIANGLES], rays[:, :_P3P_TRIANGLES])
    resected = invert(camera_from_world.flatten(1, 2)).to(rigid.dtype)
    determined = _is_rotation(rotation)
    return (
        torch.cat([rigid, resected], dim=1),
        torch.cat([determined, solved.flatten(1, 2)], dim=1),
    )


def _is_rotation(matrix: Tensor) -> Tensor:
    """Whether (..., 3, 3) are rotations, (...): the frame of a triangle without area is none."""
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    tolerance = _ORTHONORMAL[matrix.dtype]
    return ((matrix @ matrix.mT - identity).abs() < tolerance).flatten(-2).all(dim=-1)


def _incongruence(world: Tensor, camera: Tensor) -> Tensor:
    """Largest relative difference of the sides of two triangles, (..., 3, 3) -> (...)."""
    sides = [(points - points.roll(1, dims=-2)).norm(dim=-1) for points in (world, camera)]
    difference, total = (sides[0] - sides[1]).abs(), sides[0] + sides[1]
    # A triangle that is a point in one of the clouds is like none.
    return torch.where(total > 0, difference / total, 1).amax(dim=-1)


def _drawn(cells: Cells, count: int) -> Cells:
    """A sample of cells in proportion to their weights; each then counts the same."""
    shares = (torch.arange(count, dtype=torch.float64, device=cells.weights.device) + 0.5) / count
    chosen = _cells_at(cells.weights, shares)
    return Cells(
        _taken(cells.world_points, chosen),
        _taken(cells.camera_points, chosen),
        _taken(cells.rays, chosen),
        torch.ones_like(chosen, dtype=cells.weights.dtype),
        cells.focal_length,
    )


def _cells_at(weights: Tensor, shares: Tensor) -> Tensor:
    """The cells at which shares (M) of the total weight are reached, (B, N) -> (B, M)."""
    reached = weights.double().cumsum(dim=-1)
    found = torch.searchsorted(reached, shares * reached[:, -1:], right=True)
    return found.clamp_max(weights.shape[-1] - 1)


def _taken(values: Tensor, chosen: Tensor) -> Tensor:
    """Rows (B, M) of (B, N, 3)."""
    return values.gather(1, chosen[..., None].expand(-1, -1, 3))


@lru_cache(maxsize=8)
def _pattern(device: str) -> Tensor:
    """Shares of the total weight at which triangles have their corners, (_TRIANGLES, 3).

    One corner in each third of the weight: cells are counted row by row, so these are the top,
    the middle and the bottom of the image. Within the thirds, the sequence R3 of Roberts (2018),
    which fills a cube evenly.
    """
    ratio = 1.2207440846057596  # the real root of x^4 = x + 1
    counts = torch.arange(1, _TRIANGLES + 1, dtype=torch.float64)[:, None]
    steps = ratio ** -torch.arange(1, 4, dtype=torch.float64)
    within = (0.5 + counts * steps) % 1
    return ((torch.arange(3) + within) / 3).to(device)
