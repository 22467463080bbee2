"""The same arithmetic in NumPy and in PyTorch.

Solving for one pose is a thousand small operations. On the host NumPy starts one in a fifth of
the time that PyTorch needs; gradients, and devices other than the host, need PyTorch. What is
written with `namespace` and the few functions here, which the two libraries name differently,
runs on either: both know the rest by the same names, and the keyword `axis`.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc import elimination

# A torch.Tensor or a numpy.ndarray: no narrower type says what both can do.
Array: TypeAlias = Any


class Constant:
    """Numbers that never change, in every library, precision and place that asks for them.

    On a GPU the first use copies them there, which no CUDA graph may hold: run once before.
    """

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values
        self._made: dict[tuple[Any, str], Array] = {}

    def like(self, model: Array) -> Array:
        """The numbers as an array that computes with another one."""
        key = (model.dtype, str(model.device) if isinstance(model, Tensor) else '')
        found = self._made.get(key)
        if found is None:
            found = self._new(model)
            # What stands in for a tensor while a program is recorded is of no use later.
            if type(found) in (Tensor, np.ndarray):
                self._made[key] = found
        return found

    def _new(self, model: Array) -> Array:
        if not isinstance(model, Tensor):
            return self._values.astype(model.dtype)
        # What inference mode makes, no gradient may pass later.
        with torch.inference_mode(False):
            return torch.tensor(self._values, dtype=model.dtype, device=model.device)


def may_leave_torch(*tensors: Tensor) -> bool:
    """Whether nothing is lost with NumPy.

    All are on the host, no gradient is wanted of them, and no exporter records what becomes of
    them.
    """
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    recorded = recorded or torch.compiler.is_compiling()
    return not recorded and all(tensor.device.type == 'cpu' for tensor in tensors)


def to_numpy(tensor: Tensor) -> Array:
    """The array of a tensor on the host, in the same memory."""
    return tensor.detach().numpy()


def lightest(*tensors: Tensor) -> list[Array]:
    """The arrays of tensors where nothing is lost with NumPy; else the tensors themselves."""
    return [to_numpy(tensor) for tensor in tensors] if may_leave_torch(*tensors) else [*tensors]


def to_torch(array: Array) -> Tensor:
    """The tensor of an array, in the same memory; a tensor stays what it is."""
    return array if isinstance(array, Tensor) else torch.from_numpy(np.asarray(array))


def unwarned() -> AbstractContextManager[None]:
    """Within, NumPy is as quiet as PyTorch about numbers that are not finite."""
    return np.errstate(all='ignore')


def beside(array: Array, model: Array) -> Array:
    """An array, as one of NumPy where another one is."""
    is_already = isinstance(model, Tensor) or not isinstance(array, Tensor)
    return array if is_already else to_numpy(array)


def namespace(array: Array) -> ModuleType:
    """The library of an array: torch or numpy."""
    return torch if isinstance(array, Tensor) else np


def at_least(values: Array, least: float) -> Array:
    """Values, those below the least one raised to it; NaN stays."""
    return values.clamp_min(least) if isinstance(values, Tensor) else np.maximum(values, least)


def at_most(values: Array, largest: float) -> Array:
    """Values, those above the largest one lowered to it; NaN stays."""
    return values.clamp_max(largest) if isinstance(values, Tensor) else np.minimum(values, largest)


def spread(values: Array, shape: Sequence[int]) -> Array:
    """Values, repeated to a shape."""
    if isinstance(values, np.ndarray) and values.shape == tuple(shape):
        return values
    return namespace(values).broadcast_to(values, shape)


def kept(values: Array, mask: Array) -> Array:
    """Values, 0 where the mask is false; on the host nothing is copied where it never is."""
    if isinstance(values, np.ndarray) and mask.all():
        return values
    return namespace(values).where(mask, values, 0)


def chosen_rows(chosen: Array, new: Sequence[Array], old: Sequence[Array]) -> list[Array]:
    """Of each pair (B, ...) the new rows where chosen, (B,); on the host often without a copy."""
    if isinstance(chosen, np.ndarray):
        if chosen.all():
            return list(new)
        if not chosen.any():
            return list(old)
    xp = namespace(chosen)
    pairs = zip(new, old, strict=True)
    return [xp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in pairs]


def taken(values: Array, index: Array) -> Array:
    """Values (..., N) at indices (..., M) of the last axis."""
    if isinstance(values, Tensor):
        return values.gather(-1, index)
    rows = np.arange(0, values.size, values.shape[-1]).reshape(*values.shape[:-1], 1)
    return values.reshape(-1).take(index + rows)


def row_sums(values: Array, weights: Array) -> Array:
    """Weighted sums over the last axis, (..., N) -> (...)."""
    if isinstance(values, Tensor):
        return torch.linalg.vecdot(values, weights)
    return np.einsum('...i,...i->...', values, weights)


def solve_positive(matrix: Array, right: Array) -> Array:
    """The solutions of positive definite systems, (..., n, n), (..., n, 1) -> (..., n, 1).

    Where a matrix is not positive definite its solution may be not finite, or that of another
    system; the others are not affected.
    """
    if isinstance(matrix, Tensor):
        return elimination.eliminate(matrix, right)
    return _each(np.linalg.solve, math.nan, matrix, right)


def least_pivot(matrix: Array) -> Array:
    """The least pivot of symmetric matrices (..., n, n); 0 of one not positive definite."""
    if isinstance(matrix, Tensor):
        return elimination.least_pivot(matrix)
    factor = _each(np.linalg.cholesky, 0.0, matrix)
    return np.diagonal(factor, axis1=-2, axis2=-1).min(axis=-1) ** 2


def _each(function: Any, failed: float, *operands: Array) -> Array:
    """A function of numpy.linalg; one number where it fails for one matrix of many."""
    try:
        return function(*operands)
    except np.linalg.LinAlgError:
        if operands[-1].ndim == 2:
            return np.full_like(operands[-1], failed)
        return np.stack([_each(function, failed, *part) for part in zip(*operands, strict=True)])
