"""Robust costs and the weighted median: definitions, limits, bad input."""

import pytest
import torch

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given, settings
from hypothesis import strategies as st

from implicit_loc.robust import COSTS, MEDIAN_OF_NORMAL, weighted_median

FLOATS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize('kind', COSTS)
def test_the_slope_is_the_derivative_of_the_cost(kind: str) -> None:
    squared = torch.logspace(-8, 8, 50, dtype=torch.float64, requires_grad=True)
    value = COSTS[kind](squared)
    (slope,) = torch.autograd.grad(value.cost.sum(), squared)
    torch.testing.assert_close(value.slope, slope, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize('kind', COSTS)
def test_small_residuals_cost_their_square(kind: str) -> None:
    value = COSTS[kind](torch.tensor([0.0, 1e-6], dtype=torch.float64))
    assert value.cost.tolist() == pytest.approx([0, 1e-6], rel=1e-5)
    assert value.slope.tolist() == pytest.approx([1, 1], rel=1e-5)


@pytest.mark.parametrize('kind', COSTS)
@given(st.floats(0, 1e30), st.floats(0, 1e30))
@settings(max_examples=50, deadline=None)
def test_a_larger_residual_costs_no_less_and_pulls_no_more(
    kind: str, first: float, second: float
) -> None:
    value = COSTS[kind](torch.tensor(sorted((first, second)), dtype=torch.float64))
    rounding = 1 + 1e-15
    assert value.cost[0] <= value.cost[1] * rounding
    assert value.slope[0] * rounding >= value.slope[1] >= 0


@given(st.lists(st.tuples(FLOATS, st.floats(0.01, 10)), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_half_of_the_weight_lies_on_either_side_of_the_median(
    pairs: list[tuple[float, float]],
) -> None:
    values, weights = torch.tensor(pairs, dtype=torch.float64).T
    median = weighted_median(values, weights)
    half = weights.sum() / 2 * (1 + 1e-9)
    assert median in values
    assert weights[values < median].sum() <= half
    assert weights[values > median].sum() <= half


@given(st.lists(FLOATS, min_size=1, max_size=15), st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_a_weight_is_as_good_as_copies(numbers: list[float], seed: int) -> None:
    values = torch.tensor(numbers, dtype=torch.float64)
    counts = torch.randint(1, 5, values.shape, generator=torch.Generator().manual_seed(seed))
    copies = values.repeat_interleave(counts)
    expected = weighted_median(copies, torch.ones_like(copies))
    assert weighted_median(values, counts.double()) == expected


def test_the_median_of_a_batch_is_that_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(4, 3, 20, generator=generator)
    weights = torch.rand(4, 1, 20, generator=generator)
    medians = weighted_median(values, weights)
    for i in range(4):
        for j in range(3):
            assert medians[i, j] == weighted_median(values[i, j], weights[i, 0])


def test_values_without_weight_do_not_count() -> None:
    values = torch.tensor([-5.0, 1.0, 2.0, torch.inf])
    assert weighted_median(values, torch.tensor([0.0, 1.0, 0.0, 0.0])) == 1
    assert weighted_median(values, torch.tensor([0.0, 1.0, 1.0, 5.0])) == torch.inf
    assert weighted_median(values, torch.zeros(4)) == 0


@pytest.mark.parametrize('dimension', MEDIAN_OF_NORMAL)
def test_the_factor_makes_a_standard_deviation_of_a_median(dimension: int) -> None:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randn(200_000, dimension, generator=generator).norm(dim=-1)
    deviation = weighted_median(3 * lengths, torch.ones_like(lengths))
    assert float(deviation) / MEDIAN_OF_NORMAL[dimension] == pytest.approx(3, rel=0.01)
