"""Which camera the images speak for: focal length, principal point, distortion.

With known relative poses the epipolar error determines all of them; each model is fitted by
robust least squares, and the simplest that explains the most is chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from implicit_loc.camera import Camera
from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.conventions import score_of
from implicit_loc_trainer.check.epipolar import Calibration, Correspondences

FloatArray = NDArray[np.float64]

# The 1-D search: every focal length from 0.4 to 2.5 times the given one.
_FOCAL_SCALES: FloatArray = np.exp(np.linspace(np.log(0.4), np.log(2.5), 47))

# Of a fit: more pairs do not change the result, only the time.
_FITTED_PAIRS = 80

# Names of the parameters: logarithms of the focal scales, shift over the focal length, k1.
_PARAMETERS = ('focal', 'aspect', 'shift_x', 'shift_y', 'radial')
MODELS: dict[str, tuple[str, ...]] = {
    'focal': ('focal',),
    'principal-point': ('shift_x', 'shift_y'),
    'distortion': ('radial',),
    'focal+aspect': ('focal', 'aspect'),
    'focal+distortion': ('focal', 'radial'),
    'focal+principal-point': ('focal', 'shift_x', 'shift_y'),
    'all': _PARAMETERS,
}

# A simpler model whose score is this near to the best one's is preferred.
_AS_GOOD = 1.1
_WORTH = 0.004


@dataclass(frozen=True)
class CalibrationFit:
    """What a camera model makes of the errors.

    Attributes:
        model: a key of MODELS.
        calibration: the best camera.
        errors: of the pairs under it, (P,) pixels at full size.
        score: of these errors.
    """

    model: str
    calibration: Calibration
    errors: FloatArray
    score: float

    @property
    def error_px(self) -> float:
        """Median over the pairs, pixels at full size."""
        return float(np.median(self.errors))


def focal_curve(
    first_from_second: FloatArray, points: Correspondences, unit_px: float
) -> tuple[FloatArray, FloatArray]:
    """Scales of the focal length and the score at each."""
    scores = []
    for scale in _FOCAL_SCALES:
        seen = epipolar.recalibrated(points, Calibration((scale, scale)))
        errors = epipolar.pair_errors(first_from_second, seen)
        scores.append(score_of(errors, unit_px))
    return _FOCAL_SCALES, np.array(scores, dtype=np.float64)


def fit_calibration(
    first_from_second: FloatArray, points: Correspondences, camera: Camera, unit_px: float
) -> tuple[CalibrationFit, list[CalibrationFit]]:
    """The simplest camera that explains the matches best, and all that were tried.

    Args:
        first_from_second: (P, 4, 4).
        points: of P pairs, with the camera as given.
        camera: of most frames.
        unit_px: as of score_of.
    """
    few, chosen = points.spread(_FITTED_PAIRS, every=2)
    few_relative = first_from_second[chosen]
    scales, scores = focal_curve(few_relative, few, unit_px)
    focal = float(np.log(scales[scores.argmin()]))
    fits = []
    for model, names in MODELS.items():
        starts = [start for start in _starts(camera, focal) if start.keys() <= set(names)]
        fitted = [_fit(few_relative, few, camera, names, start) for start in starts]
        rated = [_rate(model, one, first_from_second, points, unit_px) for one in fitted]
        fits.append(min(rated, key=lambda fit: fit.score))
    plausible = [fit for fit in fits if _is_plausible(fit.calibration, camera)]
    fits = plausible or fits[:1]
    least = min(fit.score for fit in fits)
    as_good = [fit for fit in fits if fit.score <= _AS_GOOD * least + _WORTH]
    best = min(as_good, key=lambda fit: (len(MODELS[fit.model]), fit.score))
    return best, fits


def _is_plausible(calibration: Calibration, camera: Camera) -> bool:
    """Whether a camera can be like that: a fit to poses that are wrong goes anywhere."""
    scale_x, scale_y = calibration.focal_scale
    centre_x, centre_y = camera.cx + calibration.shift_px[0], camera.cy + calibration.shift_px[1]
    return (
        0.5 < scale_x * camera.fx / (scale_y * camera.fy) < 2.0
        and -0.25 * camera.width < centre_x < 1.25 * camera.width
        and -0.25 * camera.height < centre_y < 1.25 * camera.height
        and abs(calibration.radial) < 1.0
    )


def _starts(camera: Camera, focal: float) -> list[dict[str, float]]:
    """Where the fits begin: as given, the searched focal length, usual principal points."""
    f = camera.focal_length
    centre = ((camera.width - 1) / 2 - camera.cx, (camera.height - 1) / 2 - camera.cy)
    swapped = (camera.cy - camera.cx, camera.cx - camera.cy)
    starts: list[dict[str, float]] = [{}, {'focal': focal}]
    for shift_x, shift_y in (centre, swapped):
        shift = {'shift_x': shift_x / f, 'shift_y': shift_y / f}
        starts += [shift, {'focal': focal, **shift}]
    return starts


def _fit(
    first_from_second: FloatArray,
    points: Correspondences,
    camera: Camera,
    names: Sequence[str],
    start: dict[str, float],
) -> Calibration:
    def calibration(values: FloatArray) -> Calibration:
        found = dict.fromkeys(_PARAMETERS, 0.0) | dict(zip(names, values, strict=True))
        scale = float(np.exp(np.clip(found['focal'], -1.5, 1.5)))
        ratio = float(np.exp(np.clip(found['aspect'], -1.0, 1.0)))
        shift = (found['shift_x'] * camera.fx, found['shift_y'] * camera.fy)
        return Calibration(
            (scale * ratio, scale / ratio),
            (float(shift[0]), float(shift[1])),
            float(found['radial']),
        )

    def residuals(values: FloatArray) -> FloatArray:
        seen = epipolar.recalibrated(points, calibration(values))
        return epipolar.signed_errors(first_from_second, seen).ravel()

    first = np.array([start.get(name, 0.0) for name in names])
    unit = 2.0 * camera.width / 640.0
    solution = least_squares(residuals, first, loss='soft_l1', f_scale=unit, max_nfev=15)
    return calibration(solution.x)


def _rate(
    model: str,
    calibration: Calibration,
    first_from_second: FloatArray,
    points: Correspondences,
    unit_px: float,
) -> CalibrationFit:
    seen = epipolar.recalibrated(points, calibration)
    errors = epipolar.pair_errors(first_from_second, seen)
    return CalibrationFit(model, calibration, errors, score_of(errors, unit_px))


def without_distortion(points: Correspondences, camera: Camera) -> Correspondences | None:
    """The same pixels if the images were rectified already; None where nothing distorts."""
    if camera.distortion_model == 'none':
        return None

    def rays(straight: FloatArray) -> FloatArray:
        ones = np.ones((*straight.shape[:-1], 1))
        pixels = camera.project(np.concatenate([straight, ones], axis=-1))
        return (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)

    values = vars(points) | {
        'first_points': rays(points.first_points),
        'second_points': rays(points.second_points),
    }
    return Correspondences(**values)
