"""Worlds and outliers among pairs whose errors are known; no image is needed."""

import numpy as np
import pytest
from numpy.typing import NDArray

from implicit_loc_trainer.check.consistency import Consistency, judge

TRAIN, TEST = 40, 20
SPLIT = np.repeat([0, 1], [TRAIN, TEST])


def judged(
    train_px: float, across_px: float, test_px: float, pairs_across: int = 40
) -> Consistency:
    """Neighbours within each split and some pairs across, around median errors in pixels."""
    generator = np.random.default_rng(3)
    inside = [
        (one, one + gap)
        for gap in (1, 2, 3)
        for one in range(TRAIN + TEST - gap)
        if SPLIT[one] == SPLIT[one + gap]
    ]
    across = np.stack(
        [
            generator.integers(0, TRAIN, pairs_across),
            generator.integers(TRAIN, TRAIN + TEST, pairs_across),
        ]
    )
    first, second = np.concatenate([np.array(inside).T, across], axis=1)
    usual: NDArray[np.float64] = np.array([train_px, across_px, test_px])[
        SPLIT[first] + SPLIT[second]
    ]
    errors = usual * np.exp(generator.normal(0.0, 0.5, len(usual)))
    return judge(first, second, errors, 1.0, SPLIT)


@pytest.mark.parametrize('test_px', [0.5, 2.5, 4.0])
def test_splits_in_two_worlds_are_told_however_rough_the_second_is(test_px: float) -> None:
    train, test = judged(0.5, 13.0, test_px).worlds
    assert set(train) <= set(range(TRAIN))
    assert set(test) <= set(range(TRAIN, TRAIN + TEST))
    assert len(test) > 0.7 * TEST


@pytest.mark.parametrize(('across_px', 'test_px'), [(0.6, 0.5), (1.6, 0.5), (4.0, 2.5)])
def test_splits_of_one_world_are_not(across_px: float, test_px: float) -> None:
    assert judged(0.5, across_px, test_px).worlds == ()


def test_a_recording_of_one_split_has_no_worlds_by_split() -> None:
    pairs = np.arange(30)
    assert judge(pairs, pairs + 1, np.full(30, 0.5), 1.0, np.zeros(31, dtype=int)).worlds == ()
