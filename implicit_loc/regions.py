"""Sums over the regions of an image, as a grid of equally many cells each.

Shapes do not depend on which cells count and nothing waits for the host, so that a CUDA graph can
capture it once it has run. On the host NumPy computes it (`implicit_loc.arrays`).
"""

import math

import numpy as np
from torch import Tensor

from implicit_loc.arrays import Array, Constant, namespace

# Regions of about 40 px of a 240 px image: errors of cells farther apart than that are nearly
# independent.
ROWS, COLUMNS = 6, 8


def regional_sums(values: Array, tangents: Array, used: Array) -> Array:
    """Sums of the cells' values over a 6 x 8 grid of regions of equally many cells.

    Rows of regions are filled from the top and each from the left, as the cells look; of cells at
    the same place, the first comes first.

    Args:
        values: of the cells, (N, C), finite.
        tangents: x and y of their rays, (N, 2).
        used: which of them count, (N,) bool.

    Returns:
        (48, C); zeros of regions without a cell.
    """
    xp = namespace(values)
    x, y = (xp.where(used, tangents[:, axis], math.inf) for axis in (0, 1))
    count = used.sum()
    starts = _starts(count)
    by_y = _order(y)
    place = xp.ones_like(by_y).cumsum(0) - 1
    row = (place[:, None] >= starts[:, 0]).sum(axis=1)
    by_x = _order(x[by_y])
    order = by_y[by_x][_order(row[by_x])]
    starts = starts.reshape(-1)
    ends = xp.concatenate([starts[1:], count.reshape(1)])
    inside = (place >= starts[:, None]) & (place < ends[:, None])
    return xp.where(inside, xp.ones_like(values[:1, 0]), 0) @ values[order]


def _starts(count: Array) -> Array:
    """Where regions (6, 8) begin in the order of their cells."""
    rows, columns = _ROW.like(count), _COLUMN.like(count)
    start, size = _part(count, rows, ROWS)
    inner, _ = _part(size[:, None], columns, COLUMNS)
    return start[:, None] + inner


def _part(count: Array, index: Array, parts: int) -> tuple[Array, Array]:
    """Start and size of parts of a count, by their index; sizes differ by one at most."""
    size, rest = count // parts, count % parts
    return index * size + namespace(index).minimum(index, rest), size + (index < rest)


def _order(values: Array) -> Array:
    """The indices that sort values (N,); equal ones stay in their order."""
    if isinstance(values, Tensor):
        return values.argsort(stable=True)
    return np.argsort(values, kind='stable')


_ROW = Constant(np.arange(ROWS, dtype=np.float64))
_COLUMN = Constant(np.arange(COLUMNS, dtype=np.float64))
