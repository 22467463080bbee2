"""Robust refinement of a pose: Levenberg-Marquardt on SE(3), batched, on any device.

It lowers the robust cost of `implicit_loc.robust_cost`. The number of steps is fixed and nothing
waits for the host, so a CUDA graph can capture it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from implicit_loc.cells import Cells
from implicit_loc.residuals import View
from implicit_loc.robust_cost import (
    CostOptions,
    Factors,
    NormalEquations,
    Scales,
    cost_of,
    factors_of,
    model_of,
    normal_equations,
    robust_cost,
    robust_scales,
    scales_of,
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

# Least share of a parameter's information that the other parameters must leave to it.
_UNDETERMINED = 1e-6

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
        start_cost: that of the start, with the same scales, (B,).
        scales: of the residuals, with which both costs are computed.
        improved: whether the cost fell, (B,) bool. It never does where the cells leave the pose
            undetermined.
    """

    world_from_camera: Tensor
    cost: Tensor
    start_cost: Tensor
    scales: Scales
    improved: Tensor


def refine(
    start: Tensor,
    cells: Cells,
    options: RefinementOptions = DEFAULT_OPTIONS,
    differentiable_last_step: bool = False,
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
    """
    view, begun = View.of(start.detach(), cells, options.weight_exponent)
    with torch.no_grad():
        steps = options.steps - differentiable_last_step
        pose, model, scales = _search(view, begun, options, steps)
        factors = factors_of(view, scales, options)
        start_cost = cost_of(view, begun, factors, options)
        determined = _determined(model.information)
    cost = model.cost
    if differentiable_last_step:
        pose, cost = _last_step(view, pose, cost, determined, factors, options)
    improved = (cost < start_cost) & determined
    return Refined(
        torch.where(improved.view(-1, 1, 1), view.world_from_camera(pose), start),
        torch.where(improved, cost, start_cost),
        start_cost,
        scales,
        improved,
    )


def _search(
    view: View, pose: Tensor, options: RefinementOptions, steps: int
) -> tuple[Tensor, NormalEquations, Scales]:
    """The refined camera_from_local, the quadratic model there, and the scales of both."""
    few = view.thinned()
    factors = factors_of(few, scales_of(few, pose, options), options)
    pose, _ = _descend(few, pose, factors, options, steps - steps // 2)
    scales = scales_of(few, pose, options)
    factors = factors_of(view, scales, options)
    return *_descend(view, pose, factors, options, steps // 2), scales


def _descend(
    view: View, pose: Tensor, factors: Factors, options: RefinementOptions, steps: int
) -> tuple[Tensor, NormalEquations]:
    """A camera_from_local of lower cost, and the model there."""
    model = model_of(view, pose, factors, options)
    damping = torch.full_like(model.cost, _FIRST_DAMPING)
    for _ in range(steps):
        candidate = _moved(pose, _step(model, damping))
        found = model_of(view, candidate, factors, options)
        # A step that is not a number, of equations without a solution, is not better either.
        better = found.cost < model.cost
        pose, *parts = _select(better, (candidate, *found), (pose, *model))
        model = NormalEquations(*parts)
        damping = torch.where(better, damping / _DAMPING_FACTOR, damping * _DAMPING_FACTOR)
    return pose, model


def _last_step(
    view: View,
    pose: Tensor,
    cost: Tensor,
    determined: Tensor,
    factors: Factors,
    options: RefinementOptions,
) -> tuple[Tensor, Tensor]:
    """A camera_from_local that carries gradients, and its cost."""
    model = model_of(view, pose, factors, options)
    # What is not determined must not reach the solver: its gradient would not be finite.
    identity = torch.eye(6, dtype=cost.dtype, device=cost.device).expand_as(model.information)
    replaced = NormalEquations(cost, torch.zeros_like(model.gradient), identity)
    safe = NormalEquations(*_select(determined, model, replaced))
    stepped = _moved(pose, _step(safe, torch.zeros_like(cost)))
    with torch.no_grad():
        found = cost_of(view, stepped, factors, options)
        rounding = _ROUNDING * cost + torch.finfo(cost.dtype).eps
        accepted = determined & (found <= cost + rounding)
    chosen, cost = _select(accepted, (stepped, found), (pose, cost))
    return chosen, cost


def _determined(information: Tensor) -> Tensor:
    """Whether the cells fix all six parameters, (B, 6, 6) -> (B,) bool."""
    diagonal = information.diagonal(dim1=-2, dim2=-1)
    # Metres and radians differ in size; with a unit diagonal the pivots are shares.
    scaling = diagonal.clamp_min(torch.finfo(diagonal.dtype).tiny).rsqrt()
    factor, failed = torch.linalg.cholesky_ex(information * scaling[:, None] * scaling[..., None])
    pivots = factor.diagonal(dim1=-2, dim2=-1).square().amin(dim=-1)
    return (failed == 0) & (pivots > _UNDETERMINED)


def _step(model: NormalEquations, damping: Tensor) -> Tensor:
    """The Gauss-Newton step (B, 6, 1) with Marquardt's damping."""
    diagonal = model.information.diagonal(dim1=-2, dim2=-1)
    damped = model.information + torch.diag_embed(damping.unsqueeze(1) * diagonal)
    factor, _ = torch.linalg.cholesky_ex(damped)
    return torch.cholesky_solve(-model.gradient.unsqueeze(2), factor)


def _moved(pose: Tensor, step: Tensor) -> Tensor:
    """exp(step) camera_from_local, to second order: the Cayley map is a rotation for any step."""
    translation, turn = step.split(3, dim=1)
    half = (turn / 2).expand_as(pose)
    turned = torch.linalg.cross(half, pose, dim=1)
    turned = turned + torch.linalg.cross(half, turned, dim=1)
    factor = 2 / (1 + (turn / 2).square().sum(dim=1, keepdim=True))
    return torch.addcmul(pose, factor, turned) + functional.pad(translation, (3, 0))


def _select(chosen: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> list[Tensor]:
    """Of each pair (B, ...) the new one where chosen, (B,)."""
    vector = chosen.unsqueeze(1)
    masks = (chosen, vector, vector.unsqueeze(2))
    pairs = zip(new, old, strict=True)
    return [torch.where(masks[a.ndim - 1], a, b) for a, b in pairs]
