"""Colours vary within their limits, reproducibly, and terms that are off change nothing."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.photometry import add_noise, jitter_colour

# Measured before gamma, noise, erasing and low-pass existed.
EXPECTED_MEANS = [134.697, 149.384, 107.754]

OFF = AugmentationConfig(brightness=0, contrast=0, saturation=0, hue_deg=0, blur=0)


def _image() -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), dtype=np.uint8)


def test_colour_jitter_changes_colours_only() -> None:
    """Shape and type stay; without amounts the image stays but for rounding."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    varied = jitter_colour(image, AugmentationConfig(), np.random.default_rng(5))
    assert varied.shape == image.shape
    assert varied.dtype == np.uint8
    assert np.abs(varied.astype(int) - image).mean() > 2
    same = jitter_colour(image, OFF, np.random.default_rng(5))
    assert np.abs(same.astype(int) - image).max() <= 5


def test_gamma_keeps_black_and_white_and_the_order_of_greys() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    config = AugmentationConfig(
        brightness=0, contrast=0, saturation=0, hue_deg=0, blur=0, gamma=2.0
    )
    middles = set()
    for seed in range(8):
        varied = jitter_colour(ramp, config, np.random.default_rng(seed))[0, :, 0].astype(int)
        assert (np.diff(varied) >= 0).all()
        assert varied[0] == 0
        assert varied[-1] == 255
        assert 128 * (128 / 255) - 2 <= varied[128] <= 255 * (128 / 255) ** 0.5 + 2
        middles.add(varied[128])
    assert len(middles) > 3


def test_noise_has_no_mean_and_the_strength_asked_for() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    config = AugmentationConfig(noise=10)
    deviations = []
    for seed in range(30):
        noisy = add_noise(grey, config, np.random.default_rng(seed)).astype(float) - 128
        assert abs(noisy.mean()) < 0.2
        deviations.append(noisy.std())
    assert max(deviations) < 10.3
    assert np.mean(deviations) == pytest.approx(5, abs=1.5)
    assert add_noise(grey, OFF, np.random.default_rng(0)) is grey


@pytest.mark.parametrize('extreme', [0, 255])
def test_noise_stays_within_a_byte(extreme: int) -> None:
    """Nothing wraps around from black to white."""
    flat = np.full((50, 50, 3), extreme, np.uint8)
    noisy = add_noise(flat, AugmentationConfig(noise=40), np.random.default_rng(1))
    assert np.abs(noisy.astype(int) - extreme).max() < 200


def test_the_default_recipe_shows_what_it_always_showed() -> None:
    """Terms that are off draw no random numbers."""
    image = _image()
    means = [
        jitter_colour(image, AugmentationConfig(), np.random.default_rng([7, i])).mean()
        for i in range(3)
    ]
    np.testing.assert_allclose(means, EXPECTED_MEANS, atol=0.3)
