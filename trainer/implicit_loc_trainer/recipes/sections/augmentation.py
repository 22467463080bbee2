"""How training images are varied."""

from dataclasses import dataclass

from implicit_loc_trainer.recipes.sections.ranges import require


@dataclass(frozen=True)
class AugmentationConfig:
    """How far each training image is varied; 0 (or 1 for the factors) switches a term off.

    Attributes:
        roll_deg: rotation in the image plane, +- degrees (the paper: 30).
        tilt_deg: rotation about the two axes across, +- degrees (the paper: 0).
        zoom: the focal length is scaled by a factor in [1 / zoom, zoom] (the paper: 1).
        move: the camera is moved by up to this share of the median depth of a frame's landmarks,
            which are looked for if this is not 0 (the paper: 0).
        low_pass: blur an image before a view shrinks it, as much as resizing for the robot does.
        brightness: factor in [1 - b, 1 + b].
        contrast: factor in [1 - c, 1 + c].
        saturation: factor in [1 - s, 1 + s].
        hue_deg: shift of the hue, +- degrees.
        gamma: exponent of the brightness in [1 / gamma, gamma].
        blur: probability of a slight Gaussian blur.
        noise: standard deviation of the pixels' noise, drawn in [0, noise], grey levels.
        erase: probability that rectangles are cut out of a view; they teach nothing.
        erase_size: largest side of a rectangle, as a share of the view's.
    """

    roll_deg: float = 30.0
    tilt_deg: float = 15.0
    zoom: float = 1.5
    move: float = 0.0
    low_pass: bool = False
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue_deg: float = 10.0
    gamma: float = 1.0
    blur: float = 0.2
    noise: float = 0.0
    erase: float = 0.0
    erase_size: float = 0.4

    def __post_init__(self) -> None:
        angles = {'roll_deg': 180, 'tilt_deg': 45, 'hue_deg': 180}
        names = ('brightness', 'contrast', 'saturation', 'blur', 'erase', 'erase_size')
        limits = {**angles, **dict.fromkeys(names, 1), 'noise': 255, 'move': 0.5}
        require('augmentation', self, at_least=dict.fromkeys(limits, 0), at_most=limits)
        # No image survives more, and an infinite factor is no factor.
        factors = dict.fromkeys(('zoom', 'gamma'), 10)
        require('augmentation', self, at_least=dict.fromkeys(factors, 1), at_most=factors)
