"""Regions hold equally many cells, the same ones in NumPy and in PyTorch."""

import numpy as np
import pytest
import torch

from implicit_loc.regions import COLUMNS, ROWS, regional_sums


def _cells(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, tangents, and which are used: two thirds."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(count, 6)),
        rng.uniform(-1, 1, (count, 2)),
        rng.uniform(size=count) < 2 / 3,
    )


@pytest.mark.parametrize('count', [48, 100, 1200])
def test_regions_hold_equally_many_cells(count: int) -> None:
    """To one, of those that are used."""
    _, tangents, _ = _cells(count)
    sizes = regional_sums(np.ones((count, 1)), tangents, np.ones(count, bool))[:, 0]
    assert sizes.shape == (ROWS * COLUMNS,)
    assert sizes.sum() == count
    assert np.ptp(sizes) <= 2 - (count % 48 == 0)


def test_regions_lie_next_to_each_other() -> None:
    """Row by row: of a grid, each is a rectangle of it."""
    x, y = np.meshgrid(np.arange(40.0), np.arange(30.0))
    tangents = np.stack([x, y], axis=-1).reshape(-1, 2)
    used = np.ones(1200, bool)
    middles = regional_sums(tangents, tangents, used).reshape(ROWS, COLUMNS, 2) / 25
    np.testing.assert_allclose(middles[0, :, 0], np.arange(2, 40, 5))
    np.testing.assert_allclose(middles[:, 0, 1], np.arange(2, 30, 5))
    np.testing.assert_allclose(middles[3, 5], (27, 17))


@pytest.mark.parametrize('count', [1, 5, 47, 333])
def test_cells_that_are_not_used_are_as_if_they_were_not_there(count: int) -> None:
    """Wherever they look."""
    values, tangents, used = _cells(count)
    used[0] = True
    tangents[~used] = (0.0, np.nan)
    found = regional_sums(values, tangents, used)
    expected = regional_sums(values[used], tangents[used], np.ones(used.sum(), bool))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), values[used].sum(axis=0), atol=1e-12)


@pytest.mark.parametrize('count', [3, 200, 800])
def test_pytorch_sums_the_same_cells(count: int) -> None:
    """Also where many look the same way, and where none is used."""
    values, tangents, used = _cells(count)
    for each in (tangents, tangents.round(1)):
        for mask in (used, np.zeros_like(used)):
            found = regional_sums(*map(torch.from_numpy, (values, each, mask)))
            np.testing.assert_allclose(found, regional_sums(values, each, mask), atol=1e-12)
