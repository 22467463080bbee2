"""How badly cells fit a pose: one robust cost per cell, of reprojection and depth error together.

Where a network is wrong about a cell, it is wrong about all of it: an outlier in one of the two
errors loses its pull in both. As in `implicit_loc.residuals`, nothing here waits for the host.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from implicit_loc.cells import Cells
from implicit_loc.residuals import Residuals, View, jacobian_of, residuals
from implicit_loc.robust import COSTS, MEDIAN_OF_NORMAL, weighted_median


@dataclass(frozen=True)
class CostOptions:
    """The robust cost of a cell.

    Attributes:
        kind: a key of implicit_loc.robust.COSTS.
        width: residual at which the cost turns over, in robust standard deviations.
        weight_exponent: the network's weights count with this power. They are trained as inverse
            variances of a Laplace density, -log p = sqrt(w) r / b: in a cost that grows with r,
            not with its square, it is the root that counts.
        use_depth: whether the predicted depth counts, beside the reprojection error.
        least_pixels: floor of the reprojection error's scale, pixels of the network's input.
        least_relative_depth: floor of the depth error's scale, relative to the median depth.
    """

    kind: str = 'geman_mcclure'
    width: float = 2.0
    weight_exponent: float = 0.5
    use_depth: bool = True
    least_pixels: float = 0.5
    least_relative_depth: float = 0.005


DEFAULT_COST = CostOptions()


class Scales(NamedTuple):
    """Robust standard deviations of the residuals, per coordinate.

    Attributes:
        pixels: of the reprojection error, pixels of the network's input, (B,).
        metres: of the depth error, (B,).
    """

    pixels: Tensor
    metres: Tensor


class NormalEquations(NamedTuple):
    """The robust cost about a pose, when its points p move to p + rho + phi x p.

    With x = (rho, phi), in the camera frame, the cost is near

        cost + 2 gradient . x + x . information x

    in the Gauss-Newton approximation with reweighted residuals. All are weighted means over the
    cells: the information of N independent cells is N times as much.

    Attributes:
        cost: (B,).
        gradient: (B, 6), 1/m and 1/rad.
        information: (B, 6, 6), positive semi-definite.
    """

    cost: Tensor
    gradient: Tensor
    information: Tensor


def robust_scales(
    world_from_camera: Tensor, cells: Cells, options: CostOptions = DEFAULT_COST
) -> Scales:
    """Scales of the residuals under a pose: weighted medians, with the options' floors.

    Args:
        world_from_camera: (B, 4, 4).
        cells: of B images, or of one that all poses share.
        options: exponent of the weights and floors.
    """
    view, pose = View.of(world_from_camera, cells, options.weight_exponent)
    return scales_of(view, pose, options)


def robust_cost(
    world_from_camera: Tensor, cells: Cells, scales: Scales, options: CostOptions = DEFAULT_COST
) -> Tensor:
    """Weighted mean robust cost of the cells under a pose, (B,); 0 without any usable cell.

    A point behind the camera costs as much as one that is a focal length off its pixel and the
    predicted depth off in depth: the most that a cell can cost.

    Args:
        world_from_camera: (B, 4, 4).
        cells: of B images, or of one that all poses share. A cell that is not finite is not used.
        scales: of the residuals.
        options: of the cost.
    """
    view, pose = View.of(world_from_camera, cells, options.weight_exponent)
    return cost_of(view, pose, factors_of(view, scales, options), options)


def normal_equations(
    world_from_camera: Tensor, cells: Cells, scales: Scales, options: CostOptions = DEFAULT_COST
) -> NormalEquations:
    """The robust cost's quadratic model about a pose; arguments as `robust_cost`."""
    view, pose = View.of(world_from_camera, cells, options.weight_exponent)
    return model_of(view, pose, factors_of(view, scales, options), options)


class Factors(NamedTuple):
    """What makes residuals comparable: 1 / width^2 of each kind, (B, 1).

    Attributes:
        offset: of reprojection errors over the focal length.
        depth: of depth errors, 1/m2; 0 where the depth does not count.
    """

    offset: Tensor
    depth: Tensor


def scales_of(view: View, camera_from_local: Tensor, options: CostOptions) -> Scales:
    """As `robust_scales`."""
    found = residuals(view, camera_from_local)
    lengths = found.squared_offset.sqrt(), found.depth_error.abs(), view.targets[:, 2]
    values = torch.stack(lengths, dim=1)
    offset, depth_error, depth = weighted_median(values, view.shares.unsqueeze(1)).unbind(1)
    pixels = view.focal_length[:, 0] * offset / MEDIAN_OF_NORMAL[2]
    floor = (options.least_relative_depth * depth).clamp_min(torch.finfo(depth.dtype).eps)
    return Scales(
        pixels.clamp_min(options.least_pixels),
        (depth_error / MEDIAN_OF_NORMAL[1]).maximum(floor),
    )


def factors_of(view: View, scales: Scales, options: CostOptions) -> Factors:
    """Of residuals at some scales."""
    pixels, metres = options.width * scales.pixels[:, None], options.width * scales.metres
    offset = (view.focal_length / pixels).square()
    depth = metres[:, None].square().reciprocal() * float(options.use_depth)
    return Factors(offset, depth)


def model_of(
    view: View, camera_from_local: Tensor, factors: Factors, options: CostOptions
) -> NormalEquations:
    """As `normal_equations`."""
    found = residuals(view, camera_from_local)
    robust = COSTS[options.kind](_squared(found, factors))
    # What has reached its largest value does not change with the pose.
    pull = view.shares * robust.slope
    offset = (pull * factors.offset).masked_fill(found.squared_offset >= 1, 0)
    depth = (pull * factors.depth).masked_fill(found.fixed_depth, 0)
    weights = torch.cat([offset, offset, depth], dim=-1).unsqueeze(1)
    rows = jacobian_of(found).flatten(2)
    moments = torch.bmm(rows * weights, rows.mT)
    cost = torch.linalg.vecdot(view.shares, robust.cost)
    upper = moments.narrow(1, 0, 6)
    return NormalEquations(cost, upper.select(2, 6), upper.narrow(2, 0, 6))


def cost_of(
    view: View, camera_from_local: Tensor, factors: Factors, options: CostOptions
) -> Tensor:
    """As `robust_cost`."""
    squared = _squared(residuals(view, camera_from_local), factors)
    return torch.linalg.vecdot(view.shares, COSTS[options.kind](squared).cost)


def _squared(found: Residuals, factors: Factors) -> Tensor:
    """Squared residuals of the cells in units of the robust cost's width, (B, N)."""
    return torch.addcmul(
        found.squared_offset * factors.offset, found.depth_error.square(), factors.depth
    )
