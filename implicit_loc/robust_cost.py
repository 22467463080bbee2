"""How badly cells fit a pose: one robust cost per cell, of reprojection and depth error together.

Where a network is wrong about a cell, it is wrong about all of it: an outlier in one of the two
errors loses its pull in both. As in `implicit_loc.residuals`, nothing here waits for the host.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from implicit_loc.arrays import Array, at_least, beside, namespace, row_sums, to_torch, unwarned
from implicit_loc.cell_view import View
from implicit_loc.cells import Cells
from implicit_loc.residuals import Residuals, cell_gradients, quadratic_model, residuals
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
        metres: of the depth error, (B,); infinite where the depth does not count.
    """

    pixels: Array
    metres: Array


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

    cost: Array
    gradient: Array
    information: Array


def robust_scales(
    world_from_camera: Tensor, cells: Cells, options: CostOptions = DEFAULT_COST
) -> Scales:
    """Scales of the residuals under a pose: weighted medians, with the options' floors.

    Args:
        world_from_camera: (B, 4, 4).
        cells: of B images, or of one that all poses share.
        options: exponent of the weights and floors.
    """
    with unwarned():
        view, pose = view_of(world_from_camera, cells, options)
        return Scales(*map(to_torch, fit_of(view, pose, usual_depth_of(view), options).scales))


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
    with unwarned():
        view, pose = view_of(world_from_camera, cells, options)
        factors = factors_of(view, Scales(*(beside(scale, pose) for scale in scales)), options)
        return to_torch(cost_of(view, residuals(view, pose), factors, options))


def normal_equations(
    world_from_camera: Tensor, cells: Cells, scales: Scales, options: CostOptions = DEFAULT_COST
) -> NormalEquations:
    """The robust cost's quadratic model about a pose; arguments as `robust_cost`."""
    with unwarned():
        view, pose = view_of(world_from_camera, cells, options)
        factors = factors_of(view, Scales(*(beside(scale, pose) for scale in scales)), options)
        return NormalEquations(
            *map(to_torch, model_of(view, residuals(view, pose), factors, options))
        )


def cell_equations(
    world_from_camera: Tensor, cells: Cells, options: CostOptions = DEFAULT_COST
) -> tuple[Tensor, Tensor]:
    """The normal equations about a pose, with what every cell adds to their gradient.

    Args:
        world_from_camera: (B, 4, 4).
        cells: of B images. A cell that is not finite is not used.
        options: of the cost; its scales are those of the residuals under the pose.

    Returns:
        Gradients, (B, 6, N), and the information of all cells together, (B, 6, 6).
    """
    with unwarned():
        view, pose = view_of(world_from_camera, cells, options)
        found, scales = fit_of(view, pose, usual_depth_of(view), options)
        factors = factors_of(view, scales, options)
        _, *weights = _reweighted(view, found, factors, options)
        _, information = quadratic_model(found, *weights)
        return to_torch(cell_gradients(found, *weights)), to_torch(information)


class Fit(NamedTuple):
    """How cells fit a pose.

    Attributes:
        residuals: of the cells under the pose.
        scales: of these residuals.
    """

    residuals: Residuals
    scales: Scales


def fit_of(
    view: View, camera_from_local: Array, usual_depth: Array | None, options: CostOptions
) -> Fit:
    """The residuals under a pose (B, 4, 4), and their scales; for the depth see `scales_of`."""
    found = residuals(view, camera_from_local)
    return Fit(found, scales_of(view, found, usual_depth, options))


def fits_better(candidate: Fit, pose: Fit, view: View, options: CostOptions) -> Array:
    """Whether a candidate has a lower robust cost than a pose, (B,) bool.

    Both costs have the same scales, the tighter ones of both: with its own, a pose that fits
    nothing would find its residuals usual.
    """
    tighter = Scales(*map(namespace(view.shares).minimum, candidate.scales, pose.scales))
    factors = factors_of(view, tighter, options)
    lower, higher = (cost_of(view, fit.residuals, factors, options) for fit in (candidate, pose))
    return lower < higher


def view_of(world_from_camera: Tensor, cells: Cells, options: CostOptions) -> tuple[View, Array]:
    """The cells as a cost with these options looks at them, and the pose as View.of gives it."""
    return View.of(world_from_camera, cells, options.weight_exponent, options.use_depth)


class Factors(NamedTuple):
    """What makes residuals comparable: 1 / width^2 of each kind, (B, 1).

    Attributes:
        offset: of reprojection errors over the focal length.
        depth: of depth errors, 1/m2.
    """

    offset: Array
    depth: Array


def usual_depth_of(view: View) -> Array | None:
    """Weighted median of the predicted depths, (B,), metres; None where they do not count."""
    return None if view.depth is None else weighted_median(view.depth, view.shares)


def scales_of(
    view: View, found: Residuals, usual_depth: Array | None, options: CostOptions
) -> Scales:
    """As `robust_scales`, of the view's residuals; the depth is that of `usual_depth_of`."""
    xp = namespace(found.seen)
    if usual_depth is None:
        squared_offset = weighted_median(found.squared_offset, view.shares)
        return Scales(
            _pixels(view, squared_offset, options), xp.full_like(squared_offset, math.inf)
        )
    sizes = xp.stack([found.squared_offset, abs(found.depth_error)], axis=1)
    medians = weighted_median(sizes, view.shares[:, None])
    squared_offset, depth_error = medians[:, 0], medians[:, 1]
    floor = at_least(options.least_relative_depth * usual_depth, xp.finfo(usual_depth.dtype).eps)
    metres = xp.maximum(depth_error / MEDIAN_OF_NORMAL[1], floor)
    return Scales(_pixels(view, squared_offset, options), metres)


def _pixels(view: View, squared_offset: Array, options: CostOptions) -> Array:
    """Scale (B,) of the reprojection error, from the median of its square."""
    pixels = view.focal_length[:, 0] * squared_offset**0.5 / MEDIAN_OF_NORMAL[2]
    return at_least(pixels, options.least_pixels)


def factors_of(view: View, scales: Scales, options: CostOptions) -> Factors:
    """Of residuals at some scales."""
    pixels, metres = options.width * scales.pixels, options.width * scales.metres
    offset = (view.focal_length / pixels[:, None]) ** 2
    return Factors(offset, 1 / metres[:, None] ** 2)


def model_of(
    view: View, found: Residuals, factors: Factors, options: CostOptions
) -> NormalEquations:
    """As `normal_equations`, of the view's residuals."""
    cost, *weights = _reweighted(view, found, factors, options)
    return NormalEquations(row_sums(cost, view.shares), *quadratic_model(found, *weights))


def _reweighted(
    view: View, found: Residuals, factors: Factors, options: CostOptions
) -> tuple[Array, Array, Array | None]:
    """The cells' costs, and the weights of their squared offsets and depth errors, (B, N)."""
    xp = namespace(found.seen)
    robust = COSTS[options.kind](_squared(found, factors))
    # What has reached its largest value does not change with the pose.
    pull = view.shares * robust.slope
    offset = xp.where(found.squared_offset < 1, pull * factors.offset, 0)
    if found.depth_error is None:
        return robust.cost, offset, None
    return robust.cost, offset, xp.where(found.fixed_depth, 0, pull * factors.depth)


def cost_of(view: View, found: Residuals, factors: Factors, options: CostOptions) -> Array:
    """As `robust_cost`, of the view's residuals."""
    return row_sums(COSTS[options.kind](_squared(found, factors)).cost, view.shares)


def _squared(found: Residuals, factors: Factors) -> Array:
    """Squared residuals of the cells in units of the robust cost's width, (B, N)."""
    squared = found.squared_offset * factors.offset
    if found.depth_error is None:
        return squared
    return squared + found.depth_error * found.depth_error * factors.depth
