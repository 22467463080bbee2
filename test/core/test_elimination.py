"""What torch.linalg finds, without it: also where it is hardly determined."""

import numpy as np
import pytest
import torch
from torch import Tensor

from implicit_loc.elimination import eliminate, least_pivot

COUNT = 500


def _positive_definite(size: int, condition: float, seed: int = 0) -> Tensor:
    """Matrices (COUNT, n, n) whose eigenvalues spread over the condition number."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(COUNT, size, size, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(random)[0]
    spread = torch.rand(COUNT, size, generator=generator, dtype=torch.float64)
    spread[:, 0], spread[:, -1] = 0, 1
    return (turn * condition ** -spread[:, None]) @ turn.mT


def _right(size: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(COUNT, size, 2, generator=generator, dtype=torch.float64)


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values, dim=(-2, -1))


@pytest.mark.parametrize('size', [1, 3, 6])
@pytest.mark.parametrize('condition', [1.0, 1e2, 1e4])
def test_solutions_are_those_of_torch(size: int, condition: float) -> None:
    matrix, right = _positive_definite(size, condition), _right(size)
    expected = torch.linalg.solve(matrix, right)
    error = _norm(eliminate(matrix, right) - expected) / _norm(expected)
    assert error.max() < 1e-10


@pytest.mark.parametrize('condition', [1e8, 1e12, 1e15])
def test_hardly_determined_systems_are_solved_as_well_as_by_cholesky(condition: float) -> None:
    """Up to what rounding the matrix itself does to the solution."""
    matrix = _positive_definite(6, condition)
    truth = _right(6)
    right = matrix @ truth
    by_cholesky = torch.cholesky_solve(right, torch.linalg.cholesky_ex(matrix)[0])
    errors = [_norm(found - truth) for found in (eliminate(matrix, right), by_cholesky)]
    assert errors[0].median() < 3 * errors[1].median()
    assert errors[0].max() < 1e-15 * 20 * condition * _norm(truth).max()


def test_units_do_not_matter() -> None:
    """Metres beside radians, millimetres beside metres."""
    matrix, right = _positive_definite(6, 1e3), _right(6)
    units = 10.0 ** torch.linspace(-6, 6, 6, dtype=torch.float64)[:, None]
    scaled = eliminate(units * matrix * units.mT, units * right)
    expected = eliminate(matrix, right)
    assert (_norm(units * scaled - expected) / _norm(expected)).max() < 1e-10


@pytest.mark.parametrize('condition', [1.0, 1e6, 1e11])
def test_the_least_pivot_is_that_of_cholesky(condition: float) -> None:
    matrix = _positive_definite(6, condition)
    pivots = torch.linalg.cholesky(matrix).diagonal(dim1=-2, dim2=-1).square()
    # Relative to the matrix: subtraction leaves small pivots fewer digits.
    np.testing.assert_allclose(least_pivot(matrix), pivots.amin(dim=-1), rtol=1e-10, atol=1e-12)


def test_what_is_not_positive_definite_has_no_pivot_and_spoils_no_other() -> None:
    good, right = _positive_definite(3, 10.0), _right(3)
    for wrong in (
        -torch.eye(3),
        torch.zeros(3, 3),
        torch.full((3, 3), torch.nan),
        torch.diag(torch.tensor([1.0, 1.0, -1e-3])),
        torch.diag(torch.tensor([0.0, 1.0, 1.0])),
        torch.diag(torch.tensor([1.0, torch.inf, 1.0])) * -1,
    ):
        matrix = good.clone()
        matrix[1] = wrong
        assert least_pivot(matrix)[1] == 0
        found, expected = eliminate(matrix, right), eliminate(good, right)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[2:], expected[2:])


def test_gradients_are_those_of_torch() -> None:
    """So that a training can go through it."""
    gradients = []
    for solve in (eliminate, torch.linalg.solve):
        matrix = _positive_definite(6, 10.0).requires_grad_()
        right = _right(6).requires_grad_()
        solve(matrix, right).square().sum().backward()
        gradients.append((matrix.grad, right.grad))
    for found, expected in zip(*gradients, strict=True):
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_of_one_unknown_nothing_but_a_division_is_left() -> None:
    assert eliminate(torch.tensor([[4.0]]), torch.tensor([[2.0]])).item() == 0.5
    assert least_pivot(torch.tensor([[4.0]])).item() == 4.0
