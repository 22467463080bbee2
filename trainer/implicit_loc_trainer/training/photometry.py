"""How the colours of a training image are varied."""

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.recipes.sections import AugmentationConfig

ByteImage = NDArray[np.uint8]


def jitter_colour(
    image: ByteImage, config: AugmentationConfig, rng: np.random.Generator
) -> ByteImage:
    """Vary brightness, contrast, saturation, hue and gamma, and blur now and then."""
    amounts = (config.brightness, config.contrast, config.saturation)
    brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * amounts
    hue = rng.uniform(-1, 1) * config.hue_deg / 2  # OpenCV counts half degrees
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    levels = np.arange(256)
    hue_table = ((levels + hue) % 180).astype(np.uint8)
    saturation_table = np.clip(levels * saturation, 0, 255).astype(np.uint8)
    hsv[..., 0] = cv2.LUT(hsv[..., 0], hue_table)
    hsv[..., 1] = cv2.LUT(hsv[..., 1], saturation_table)
    varied = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    mean = float(varied.mean())
    tone = np.clip(((levels - mean) * contrast + mean) * brightness, 0, 255)
    # Terms that are off draw no numbers: what a recipe without them shows stays the same.
    if config.gamma > 1:
        exponent = np.exp(rng.uniform(-1, 1) * np.log(config.gamma))
        tone = 255 * (tone / 255) ** exponent
    varied = cv2.LUT(varied, tone.astype(np.uint8))
    if rng.random() < config.blur:
        varied = cv2.GaussianBlur(varied, (0, 0), float(rng.uniform(0.3, 1.2)))
    return np.asarray(varied, dtype=np.uint8)


def add_noise(image: ByteImage, config: AugmentationConfig, rng: np.random.Generator) -> ByteImage:
    """Add Gaussian noise of a random strength, every pixel and channel on its own."""
    if config.noise == 0:
        return image
    deviation = rng.uniform(0, config.noise)
    noise = deviation * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + noise + 0.5, 0, 255).astype(np.uint8)
