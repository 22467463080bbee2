"""Camera pose from world points and rays alone: the closed form that needs no depth.

The reduction of SQPnP (Terzakis and Lourakis 2020) turns any number of points into one 9x9
quadratic form of the rotation. It is minimised over SO(3) from a fixed set of rotations, so the
result depends on no guess, and the cost of a step not on the number of points.
"""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.arrays import Constant
from implicit_loc.poses import rigid_transform, skew

# Gauss-Newton steps from every start, which tell the basins apart, and Newton steps in the best.
_STEPS = 5
_POLISHING_STEPS = 4

_FIRST_DAMPING, _LEAST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e-15, 1e3

# At a minimum rounding alone decides which of two costs is lower; Newton still gains digits.
_ROUNDING = 1e-14

_TINY = 1e-300


def resect(world_points: Tensor, rays: Tensor, weights: Tensor) -> Tensor:
    """The pose that brings the points closest to their rays, in metres.

    Minimises sum_i w_i |(I - v_i v_i^T) p_i|^2 with p = R^T (g - t) and the unit ray v, over
    poses with the weighted mean of the points in front of the camera: a plane fits as well from
    behind. There is no data-dependent branch, no decomposition and no library call that waits
    for the host, so that a CUDA graph can capture it.

    Args:
        world_points: g, (B, N, 3), metres.
        rays: towards the points in the camera frame, (B, N, 3), of any length > 0.
        weights: non-negative, (B, N); their scale does not matter. A point of weight zero may
            hold anything.

    Returns:
        world_from_camera, (B, 4, 4), in the precision of the points; computed in float64, for
        the 9x9 form cancels where the field of view is small. Where the points determine no pose
        (fewer than three, on a line) it is one of many, and finite.
    """
    used = (weights > 0)[..., None]
    points = torch.where(used, world_points, 0).double()
    unit = torch.nn.functional.normalize(torch.where(used, rays, 1).double(), dim=-1)
    shares = weights.double() / weights.double().sum(dim=-1, keepdim=True).clamp_min(_TINY)
    mean = (shares[..., None] * points).sum(dim=-2)
    centred = torch.where(used, points - mean[:, None], 0)
    # Points of unit spread: damping and thresholds below have no unit.
    variance = (shares * centred.square().sum(dim=-1)).sum(dim=-1)
    size = torch.where(variance > _TINY, variance, 1).sqrt()[:, None, None]
    form, position = _reduce(centred / size, unit, shares)
    starts = _STARTS.like(form).expand(len(form), -1, -1, -1)
    rotations = _minimise(form, starts, _STEPS, exact_curvature=False)
    best = _best(form, position, rotations)
    rotation = _minimise(form, best[:, None], _POLISHING_STEPS, exact_curvature=True)[:, 0]
    translation = size * (position @ rotation.reshape(-1, 9, 1))
    camera_centre = mean - (rotation.mT @ translation)[..., 0]
    return rigid_transform(rotation.mT, camera_centre).to(world_points.dtype)


def _reduce(points: Tensor, unit: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """The cost r^T Omega r of a rotation r, row by row, and its best translation t = P r.

    Returns:
        Omega, (B, 9, 9), and P, (B, 3, 9).
    """
    batch, count = shares.shape
    extended = torch.nn.functional.pad(points, (0, 1), value=1.0)
    products = (extended[..., :, None] * extended[..., None, :]).reshape(batch, count, 16)
    identity = torch.eye(3, dtype=unit.dtype, device=unit.device)
    across = identity - unit[..., :, None] * unit[..., None, :]
    weighted = (shares[..., None, None] * across).reshape(batch, count, 9)
    moments = (weighted.mT @ products).reshape(batch, 3, 3, 4, 4)
    mixed = moments[..., :3, 3].reshape(batch, 3, 9)
    quadratic = moments[..., :3, :3].transpose(2, 3).reshape(batch, 9, 9)
    position = -_invert(moments[..., 3, 3]) @ mixed
    return quadratic + mixed.mT @ position, position


def _minimise(form: Tensor, rotations: Tensor, steps: int, exact_curvature: bool) -> Tensor:
    """Levenberg-Marquardt on SO(3) from every start, (B, S, 3, 3) -> (B, S, 3, 3).

    Args:
        form: Omega, (B, 9, 9).
        rotations: the starts.
        steps: how many; one that does not lower the cost is not taken.
        exact_curvature: Newton instead of Gauss-Newton: it converges quadratically to a minimum
            whose cost is not zero, but far from one it may not descend.
    """
    form = form[:, None]
    scale = form.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    identity = torch.eye(3, dtype=form.dtype, device=form.device)

    def expand(rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cost (B, S), gradient (B, S, 3) and curvature (B, S, 3, 3) about the three axes."""
        moved = _moved(rotation)
        products = moved @ form
        system = products @ moved.mT
        cost, gradient, curvature = system[..., 0, 0], system[..., 1:, 0], system[..., 1:, 1:]
        if exact_curvature:
            bent = rotation @ products[..., 0, :].reshape(rotation.shape).mT
            trace = bent.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
            curvature = curvature + (bent + bent.mT) / 2 - trace * identity
        return cost, gradient, curvature

    cost, gradient, curvature = expand(rotations)
    damping = torch.full_like(cost, _FIRST_DAMPING)
    for _ in range(steps):
        system = curvature + damping[..., None, None] * scale * identity
        candidate = _turn(rotations, -(_invert(system) @ gradient[..., None])[..., 0])
        found, new_gradient, new_curvature = expand(candidate)
        better = found <= cost + _ROUNDING * scale[..., 0, 0]
        cost = torch.where(better, found, cost)
        gradient = torch.where(better[..., None], new_gradient, gradient)
        keep = better[..., None, None]
        curvature = torch.where(keep, new_curvature, curvature)
        rotations = torch.where(keep, candidate, rotations)
        damping = torch.where(better, damping * 1e-2, damping * 10)
        damping = damping.clamp(_LEAST_DAMPING, _LARGEST_DAMPING)
    return rotations


def _moved(rotation: Tensor) -> Tensor:
    """A rotation and its derivatives about the three axes, row by row, (..., 4, 9)."""
    return (_GENERATORS.like(rotation) @ rotation[..., None, :, :]).flatten(-2)


def _turn(rotation: Tensor, vector: Tensor) -> Tensor:
    # Cayley's map: a rotation for every vector, and the exponential up to third order.
    cross = skew(vector / 2)
    turned = cross @ rotation
    factor = 2 / (1 + vector.square().sum(-1) / 4)
    return rotation + factor[..., None, None] * (turned + cross @ turned)


def _best(form: Tensor, position: Tensor, rotations: Tensor) -> Tensor:
    """The rotation of least cost among those with the mean point in front, (B, 3, 3)."""
    flat = rotations.flatten(-2)
    cost = ((flat @ form) * flat).sum(dim=-1)
    # The points are centred: the translation is their weighted mean in the camera frame.
    depth = (flat @ position[:, 2, :, None])[..., 0]
    least = torch.where(depth > 0, cost, torch.inf).argmin(dim=-1)
    return rotations.gather(1, least[:, None, None, None].expand(-1, 1, 3, 3))[:, 0]


def _invert(matrix: Tensor) -> Tensor:
    """Inverse of (..., 3, 3) by cofactors: a library call would wait for the host.

    A singular matrix has a huge one instead.
    """
    a, b, c = matrix.unbind(-2)
    crosses = [torch.linalg.cross(*pair, dim=-1) for pair in ((b, c), (c, a), (a, b))]
    cofactors = torch.stack(crosses, dim=-1)
    determinant = (a * cofactors[..., 0]).sum(dim=-1)
    safe = torch.where(determinant.abs() > _TINY, determinant, _TINY)
    return cofactors / safe[..., None, None]


def _rotations_of_axes() -> NDArray[np.float64]:
    """The 24 rotations that map the axes onto each other, (24, 3, 3).

    No rotation is farther than 62.8 degrees from one of them.
    """
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.diag(signs)[list(order)]
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    return np.stack(found)


_STARTS = Constant(_rotations_of_axes())
# The identity, and the skew matrices of the three axes.
_GENERATORS = Constant(np.concatenate([np.eye(3)[None], skew(torch.eye(3)).double().numpy()]))
