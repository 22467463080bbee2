"""Erased rectangles: where they are, what they hold, and that nobody learns from them."""

import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import View
from implicit_loc_trainer.training.erasing import erase

CAMERA = Camera(320, 240, 262.0, 262.0, 159.5, 119.5)


def _view() -> View:
    y, x = np.mgrid[:240, :320]
    image = np.stack([x % 256, y, (x + y) % 256], axis=-1).astype(np.uint8)
    return View(image, CAMERA.rays(8), np.ones((30, 40), bool), 262.0, np.eye(4))


def test_cells_are_invalid_exactly_where_the_image_changed() -> None:
    """Both ways: a cell whose centre was erased teaches nothing, all others still do."""
    config = AugmentationConfig(erase=1)
    view = _view()
    for seed in range(20):
        erased = erase(view, config, 8, np.random.default_rng(seed))
        changed = (erased.image != view.image).any(axis=-1)
        # A rectangle of whole pixels holds a cell's centre, 3.5, if it holds the pixel before it.
        shown = changed[3::8, 3::8]
        assert not shown[erased.valid].any()
        # Of noise, one pixel in 16 million is what it was.
        assert shown[~erased.valid].all()
        assert 0.005 < 1 - erased.valid.mean() < 3 * config.erase_size**2 + 0.01
    assert view.valid.all()


def test_the_probability_is_kept() -> None:
    view = _view()
    for probability in (0.0, 0.3, 1.0):
        config = AugmentationConfig(erase=probability)
        count = sum(
            not erase(view, config, 8, np.random.default_rng(i)).valid.all() for i in range(300)
        )
        assert count / 300 == pytest.approx(probability, abs=0.08)


@pytest.mark.parametrize('size', [0.0, 1.0])
def test_the_smallest_and_the_largest_size_work(size: float) -> None:
    """One pixel, or the whole view."""
    config = AugmentationConfig(erase=1, erase_size=size)
    for seed in range(10):
        erased = erase(_view(), config, 8, np.random.default_rng(seed))
        assert erased.image.shape == (240, 320, 3)
        if size == 0:
            assert erased.valid.mean() > 0.99
