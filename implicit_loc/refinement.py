"""Robust refinement of a pose: Levenberg-Marquardt on SE(3), batched, on any device.

It lowers the robust cost of `implicit_loc.robust_cost`. The number of steps is fixed and nothing
waits for the host, so a CUDA graph can capture it once it has run.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import (
    Array,
    Constant,
    at_least,
    beside,
    chosen_rows,
    least_pivot,
    namespace,
    solve_positive,
    to_torch,
    unwarned,
)
from implicit_loc.cell_view import LARGEST, View
from implicit_loc.cells import Cells
from implicit_loc.residuals import Residuals, residuals
from implicit_loc.robust_cost import (
    CostOptions,
    Factors,
    Fit,
    NormalEquations,
    Scales,
    cost_of,
    factors_of,
    fit_of,
    fits_better,
    model_of,
    normal_equations,
    robust_cost,
    robust_scales,
    usual_depth_of,
    view_of,
)

__all__ = [
    'NormalEquations',
    'Refined',
    'RefinementOptions',
    'Scales',
    'normal_equations',
    'refine',
    'robust_cost',
    'robust_scales',
]

# Least share of a parameter's information that the other parameters must leave to it, and how
# many times the precision of the numbers: sums over the cells tell less from zero.
_UNDETERMINED = 1e-6
_UNTOLD = 300

_FIRST_DAMPING = 1e-3
_DAMPING_FACTOR = 10.0

# Share by which the differentiable step may raise the cost: at the optimum rounding alone does.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class RefinementOptions(CostOptions):
    """How a pose is refined.

    Attributes:
        steps: of Levenberg-Marquardt, at least 1. The first half of them takes the scales of the
            start and, of very many cells, some; the second half takes the scales that these steps
            lead to, and all cells.
    """

    steps: int = 4


DEFAULT_OPTIONS = RefinementOptions()


class Refined(NamedTuple):
    """A refined pose.

    Attributes:
        world_from_camera: (B, 4, 4); the start where nothing better was found.
        cost: robust cost of world_from_camera, (B,).
        start: the world_from_camera that it began with, (B, 4, 4).
        start_cost: that of the start, with the same scales, (B,).
        scales: of the residuals, with which both costs are computed.
        improved: whether the cost fell, (B,) bool. It never does where the cells leave the pose
            undetermined.
    """

    world_from_camera: Tensor
    cost: Tensor
    start: Tensor
    start_cost: Tensor
    scales: Scales
    improved: Tensor


class _Begun(NamedTuple):
    """Where the search begins: a start (B, 4, 4), its camera_from_local, and how cells fit it."""

    start: Array
    pose: Array
    fit: Fit


def refine(
    start: Tensor,
    cells: Cells,
    options: RefinementOptions = DEFAULT_OPTIONS,
    differentiable_last_step: bool = False,
    rival: Tensor | None = None,
) -> Refined:
    """Lower the robust cost of a pose.

    Args:
        start: world_from_camera, (B, 4, 4).
        cells: of B images; a cell that is not finite is not used.
        options: how.
        differentiable_last_step: the last step is one of Gauss-Newton, and gradients pass
            through it to world points, camera points and weights; scales and earlier steps count
            as constants. At the optimum these are the gradients of the optimum itself (implicit
            function theorem) in the Gauss-Newton approximation.
        rival: another start, (B, 4, 4): the search begins with that of the lower robust cost. Of
            very many cells, some are asked. One that is not finite, or beyond 1e9 m, is not taken.
    """
    if rival is not None:
        start, rival = _within_sight(start, rival), _within_sight(rival, start)
    # Without gradients through the cells the search may leave PyTorch, and is much faster.
    recorded = differentiable_last_step and torch.is_grad_enabled()
    with unwarned():
        with torch.set_grad_enabled(recorded):
            view, pose = view_of(start.detach(), cells, options)
        with torch.no_grad():
            few = view.thinned()
            usual_depth = usual_depth_of(few)
            begun = _Begun(beside(start, pose), pose, fit_of(few, pose, usual_depth, options))
            if rival is not None:
                begun = _better(begun, beside(rival, pose), few, usual_depth, options)
            steps = options.steps - differentiable_last_step
            pose, model, scales = _search(view, few, begun, usual_depth, options, steps)
            factors = factors_of(view, scales, options)
            found = begun.fit.residuals if few is view else residuals(view, begun.pose)
            start_cost = cost_of(view, found, factors, options)
            determined, cost = _determined(model.information), model.cost
        if differentiable_last_step:
            pose, cost = _last_step(view, pose, cost, determined, factors, options)
        improved = (cost < start_cost) & determined
        choose = namespace(cost).where
        return Refined(
            to_torch(choose(improved[:, None, None], view.world_from_camera(pose), begun.start)),
            to_torch(choose(improved, cost, start_cost)),
            to_torch(begun.start),
            to_torch(start_cost),
            Scales(*map(to_torch, scales)),
            to_torch(improved),
        )


def _within_sight(pose: Tensor, other: Tensor) -> Tensor:
    """A pose (B, 4, 4), and the other one where it is too far for any cell to count from there.

    No cell is left to speak against such a pose, and nothing else costs less.
    """
    is_within = (pose.abs() < LARGEST).flatten(1).all(dim=1)
    return torch.where(is_within[:, None, None], pose, other)


def _better(
    begun: _Begun, rival: Array, few: View, usual_depth: Array | None, options: CostOptions
) -> _Begun:
    """With which of two starts the search begins."""
    pose = few.camera_from_local(rival)
    fit = fit_of(few, pose, usual_depth, options)
    is_better = fits_better(fit, begun.fit, few, options)
    start, pose, *scales = chosen_rows(
        is_better, (rival, pose, *fit.scales), (begun.start, begun.pose, *begun.fit.scales)
    )
    return _Begun(start, pose, Fit(residuals(few, pose), Scales(*scales)))


def _search(
    view: View,
    few: View,
    begun: _Begun,
    usual_depth: Array | None,
    options: RefinementOptions,
    steps: int,
) -> tuple[Array, NormalEquations, Scales]:
    """The refined camera_from_local, its cost, the last equations, and the scales of both."""
    factors = factors_of(few, begun.fit.scales, options)
    found = begun.fit.residuals
    pose, _ = _descend(few, begun.pose, found, factors, options, steps - steps // 2)
    found, scales = fit_of(few, pose, usual_depth, options)
    factors = factors_of(view, scales, options)
    found = found if few is view else residuals(view, pose)
    return *_descend(view, pose, found, factors, options, steps // 2), scales


def _descend(
    view: View, pose: Array, found: Residuals, factors: Factors, options: CostOptions, steps: int
) -> tuple[Array, NormalEquations]:
    """A camera_from_local of lower cost than one whose residuals were found, and its cost.

    The equations that come with it are those of the last step.
    """
    model = model_of(view, found, factors, options)
    damping = namespace(pose).full_like(model.cost, _FIRST_DAMPING)
    for left in reversed(range(steps)):
        candidate = _moved(pose, _step(model, damping))
        found = residuals(view, candidate)
        if left:
            there = model_of(view, found, factors, options)
        else:
            there = model._replace(cost=cost_of(view, found, factors, options))
        # A step that is not a number, of equations without a solution, is not better either.
        better = there.cost < model.cost
        less, more = damping / _DAMPING_FACTOR, damping * _DAMPING_FACTOR
        damping = namespace(pose).where(better, less, more)
        pose, *parts = chosen_rows(better, (candidate, *there), (pose, *model))
        model = NormalEquations(*parts)
    return pose, model


def _last_step(
    view: View,
    pose: Array,
    cost: Array,
    determined: Array,
    factors: Factors,
    options: RefinementOptions,
) -> tuple[Array, Array]:
    """A camera_from_local that carries gradients, and its cost."""
    xp = namespace(pose)
    model = model_of(view, residuals(view, pose), factors, options)
    # What is not determined must not reach the solver: its gradient would not be finite.
    identity = xp.broadcast_to(_IDENTITY.like(cost), model.information.shape)
    replaced = NormalEquations(cost, xp.zeros_like(model.gradient), identity)
    safe = NormalEquations(*chosen_rows(determined, model, replaced))
    stepped = _moved(pose, _step(safe, xp.zeros_like(cost)))
    with torch.no_grad():
        found = cost_of(view, residuals(view, stepped), factors, options)
        rounding = _ROUNDING * cost + xp.finfo(cost.dtype).eps
        accepted = determined & (found <= cost + rounding)
    chosen, cost = chosen_rows(accepted, (stepped, found), (pose, cost))
    return chosen, cost


def _determined(information: Array) -> Array:
    """Whether the cells fix all six parameters, (B, 6, 6) -> (B,) bool."""
    precision = namespace(information).finfo(information.dtype)
    diagonal = information.reshape(-1, 36)[:, ::7]
    # Metres and radians differ in size; with a unit diagonal the pivots are shares.
    scaling = at_least(diagonal, precision.tiny) ** -0.5
    pivot = least_pivot(information * scaling[:, None] * scaling[..., None])
    return pivot > max(_UNDETERMINED, _UNTOLD * precision.eps)


def _step(model: NormalEquations, damping: Array) -> Array:
    """The Gauss-Newton step (B, 6, 1) with Marquardt's damping."""
    damped = model.information * (1 + damping[:, None, None] * _IDENTITY.like(damping))
    return solve_positive(damped, -model.gradient[..., None])


def _moved(pose: Array, step: Array) -> Array:
    """exp(step) camera_from_local, to second order: the Cayley map is a rotation for any step."""
    twist = (step[..., 0] @ _TWISTS.like(step)).reshape(-1, 2, 4, 4)
    shift, turn = twist[:, 0], twist[:, 1]
    factor = 2 / (1 + (step[:, 3:] ** 2).sum(axis=1) / 4)
    return pose + (shift + factor[:, None] * (turn + turn @ turn)) @ pose


def _twists() -> NDArray[np.float64]:
    """Of each entry of (rho, phi): the matrices that shift by rho and cross with phi / 2."""
    shift, turn = np.zeros((6, 4, 4)), np.zeros((6, 4, 4))
    for axis in range(3):
        after, last = (axis + 1) % 3, (axis + 2) % 3
        shift[axis, axis, 3] = 1
        turn[3 + axis, last, after], turn[3 + axis, after, last] = 0.5, -0.5
    return np.stack([shift, turn], axis=1).reshape(6, 32)


_TWISTS = Constant(_twists())
_IDENTITY = Constant(np.eye(6))
