"""Finds the calibration under which measured errors are what was announced."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.stats import chi2

from implicit_loc.confidence import SIGNALS, ConfidenceModel
from implicit_loc.covariance import calibrated
from implicit_loc_trainer.evaluation.trust import normalised_squares

FloatArray = NDArray[np.float64]

# Factors are looked for between these.
_LEAST, _LARGEST = 0.2, 50.0

# How many frames the factor of unknown maps counts for.
_PRIOR_FRAMES = 15.0

# Frames of a stretch of a recording, whose errors are much the same.
_FRAMES_PER_STRETCH = 11

# The share of errors that an interval should hold; filters reject beyond about that.
_INTERVAL = 0.9

# A few poses that are plainly wrong should widen the covariance of all others only so far: the
# confidence is there to tell them.
_OUTLIER = 3.0

# How firmly the slopes keep to those of unknown maps: as much as so many images say.
_PRIOR_IMAGES = 20.0


def fit_factors(
    errors: FloatArray, covariances: FloatArray, usual: tuple[float, float]
) -> tuple[float, float]:
    """Factors on the standard deviations of position and rotation.

    Squared Mahalanobis lengths of three components follow chi-square. Errors of a network have
    heavier tails, so not both their mean and their 90 % quantile can: the geometric mean of the
    two ratios to chi-square becomes one.

    Frames of one stretch of a recording have much the same error, so few stretches tell little of
    the next one: as the mean of n of them varies, the next varies by sqrt(1 + 1 / n) more. What
    they say is averaged, as a logarithm, with the factor of unknown maps.

    Args:
        errors: (N, 6), as pose_errors gives them, in the order of the recording.
        covariances: before calibration, (N, 6, 6).
        usual: the factors of unknown maps.

    Returns:
        Of position and rotation, for Calibration.
    """
    if not len(errors):
        return usual
    share = len(errors) / (len(errors) + _PRIOR_FRAMES)
    stretches = max(1, len(errors) // _FRAMES_PER_STRETCH)
    next_one = math.sqrt(1 + 1 / stretches)
    translation = next_one * _factor(errors, covariances, slice(0, 3))
    rotation = next_one * _factor(errors, covariances, slice(3, 6))
    return (
        translation**share * usual[0] ** (1 - share),
        rotation**share * usual[1] ** (1 - share),
    )


def _factor(errors: FloatArray, covariances: FloatArray, part: slice) -> float:
    def surprise(logarithm: float) -> float:
        factor = float(np.exp(logarithm))
        scaled = np.stack([calibrated(covariance, (factor, factor)) for covariance in covariances])
        return _surprise(normalised_squares(errors[:, part], scaled[:, part, part]))

    least, largest = np.log([_LEAST, _LARGEST])
    if surprise(least) <= 0:
        return _LEAST
    if surprise(largest) >= 0:
        return _LARGEST
    return float(np.exp(brentq(surprise, least, largest, xtol=1e-3)))


def _surprise(squares: FloatArray) -> float:
    """Logarithm of how much larger three-dimensional errors are than announced."""
    quantile = np.quantile(squares, _INTERVAL)
    mean = np.minimum(squares, _OUTLIER * quantile).mean()
    tiny = np.finfo(np.float64).tiny
    ratios = np.array([quantile / chi2.ppf(_INTERVAL, 3), mean / 3]).clip(tiny, 1e300)
    return float(np.log(ratios).mean())


def fit_confidence(
    signals: FloatArray, is_right: NDArray[np.bool_], weights: FloatArray
) -> ConfidenceModel:
    """The logistic model of whether a pose is right.

    Slopes cannot be negative: whatever the images at hand say, more doubt must not raise the
    confidence where no image has been. They are drawn to those of unknown maps, so that a signal
    that says nothing here keeps its say.

    Args:
        signals: of the images, (N, K), in the order of SIGNALS.
        is_right: whether the pose of each is, (N,).
        weights: of the images, (N,), with mean 1.
    """
    usual = ConfidenceModel()
    prior = np.array([usual.bias, *(usual.slopes[name] for name in SIGNALS)])
    design = np.column_stack([np.ones(len(signals)), -signals])
    target = is_right.astype(np.float64)
    # The bias is the map's own: whether it is a good one.
    firmness = np.where(np.arange(len(prior)) == 0, 0.01, 1.0) * _PRIOR_IMAGES

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        odds = design @ parameters
        likelihood = weights * (np.logaddexp(0, odds) - target * odds)
        offset = parameters - prior
        gradient = design.T @ (weights * (expit(odds) - target)) + firmness * offset
        return float(likelihood.sum() + 0.5 * (firmness * offset**2).sum()), gradient

    bounds = [(None, None), *[(0.0, None)] * len(SIGNALS)]
    found = minimize(loss, prior, jac=True, method='L-BFGS-B', bounds=bounds).x
    slopes = dict(zip(SIGNALS, found[1:].round(6).tolist(), strict=True))
    return ConfidenceModel(float(found[0].round(6)), slopes)
