"""Robust statistics: costs that forgive outliers, and the weighted median."""

from collections.abc import Callable
from typing import NamedTuple

from implicit_loc.arrays import Array, at_most, namespace, spread, taken


class RobustValue(NamedTuple):
    """A robust cost rho(z) of squared normalised residuals z, and its slope.

    Attributes:
        cost: rho(z), with rho(0) = 0 and rho'(0) = 1.
        slope: rho'(z) in (0, 1]: the weight of a residual in iteratively reweighted least squares.
    """

    cost: Array
    slope: Array


def cauchy(squared: Array) -> RobustValue:
    """rho(z) = log(1 + z): an outlier's pull falls off as 1 / residual."""
    return RobustValue(namespace(squared).log1p(squared), 1 / (1 + squared))


def geman_mcclure(squared: Array) -> RobustValue:
    """rho(z) = z / (1 + z): bounded, an outlier's pull falls off as 1 / residual^3."""
    slope = 1 / (1 + squared)
    return RobustValue(squared * slope, slope * slope)


COSTS: dict[str, Callable[[Array], RobustValue]] = {
    'cauchy': cauchy,
    'geman_mcclure': geman_mcclure,
}

# Median of the length of a vector of independent standard normal numbers, by its dimension: the
# median of residuals over this is a standard deviation that outliers hardly move.
MEDIAN_OF_NORMAL = {1: 0.6744897501960817, 2: 1.1774100225154747}


def weighted_median(values: Array, weights: Array) -> Array:
    """The least value at which half of the weight is reached.

    Args:
        values: (..., N), N > 0; infinite ones are large values.
        weights: non-negative, (..., N) or what expands to it; their scale does not matter. A
            value of weight zero is never the median, unless all weights are zero.

    Returns:
        (...); 0 where all weights are zero.
    """
    xp = namespace(values)
    order = xp.argsort(values, axis=-1)
    reached = taken(spread(weights, values.shape), order).cumsum(axis=-1)
    total = reached[..., -1:]
    # What rounding could leave out must not push the index past the end.
    middle = (reached < total / 2).sum(axis=-1, keepdims=True)
    median = taken(values, taken(order, at_most(middle, values.shape[-1] - 1)))
    return xp.where(total > 0, median, 0)[..., 0]
