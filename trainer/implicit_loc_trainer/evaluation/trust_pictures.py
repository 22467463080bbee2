"""Pictures of what covariances and confidences are worth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import beta, chi2

from implicit_loc_trainer.evaluation.drawing import (
    ERROR_COLOUR,
    ESTIMATED_COLOUR,
    TRUE_COLOUR,
    new_figure,
    tick_1_2_5,
)
from implicit_loc_trainer.evaluation.frames import FrameResult, Posed, posed
from implicit_loc_trainer.evaluation.lost import LostDetection
from implicit_loc_trainer.evaluation.trust import (
    INTERVAL,
    is_correct,
    normalised_squares,
    reliability,
)

FloatArray = NDArray[np.float64]

# NEES beyond this quantile of its distribution are drawn as one bar: they know no bounds.
_NEES_SHOWN = 0.9999
_NEES_BINS = 24
_FOREIGN_COLOUR = '#ff7f0e'


def reliability_figure(
    frames: Sequence[FrameResult], min_confidence: float, lost: LostDetection | None = None
) -> Figure:
    """Confidence against the share of correct frames, and how often each confidence occurs.

    Args:
        frames: at least one; those without a pose count as confidence 0, and as wrong.
        min_confidence: that of an accepted pose at least.
        lost: results on foreign images, if there are any: their confidences beside the frames'.
    """
    found = posed(frames)
    refused = len(frames) - len(found.confidences)
    confidences = np.concatenate([found.confidences, np.zeros(refused)])
    correct = np.concatenate([is_correct(found.errors), np.zeros(refused, np.bool_)])
    figure = new_figure(6.4, 6.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = reliability(confidences, correct)
    counts = bins.correct * bins.frames
    # Clopper and Pearson's interval: a bin of three frames proves little.
    low = np.nan_to_num(beta.ppf(0.05, counts, bins.frames - counts + 1))
    high = np.nan_to_num(beta.ppf(0.95, counts + 1, bins.frames - counts), nan=1.0)
    spread = np.abs(np.stack([bins.correct - low, high - bins.correct]))
    upper.plot([0, 1], [0, 1], color=TRUE_COLOUR, linewidth=0.8, linestyle='--', label='ideal')
    upper.errorbar(
        bins.confidence, bins.correct, spread, fmt='o', color=ESTIMATED_COLOUR, capsize=3,
        label='frames, with the 90 % interval of their share',
    )  # fmt: skip
    upper.set_ylabel('share within 25 cm and 10 deg')
    upper.set_ylim(-0.03, 1.03)
    edges = [0.05 * step for step in range(21)]
    _shares(lower, confidences, edges, ESTIMATED_COLOUR, f'{len(frames)} frames')
    if lost is not None:
        foreign = np.maximum(np.concatenate(list(lost.foreign.values())), 0.0)
        _shares(lower, foreign, edges, _FOREIGN_COLOUR, f'{len(foreign)} foreign images')
    lower.set_xlabel('confidence')
    lower.set_ylabel('share')
    for axis in (upper, lower):
        axis.axvline(
            min_confidence,
            color='0.4',
            linestyle=':',
            label=f'accepted from {min_confidence:g} on',
        )
        axis.grid(alpha=0.3)
    upper.legend(loc='lower right')
    lower.legend(loc='upper center')
    return figure


def nees_figure(frames: Sequence[FrameResult], min_confidence: float) -> Figure:
    """NEES of the accepted poses, of positions and of rotations, over their chi-square densities.

    Args:
        frames: at least one.
        min_confidence: that of an accepted pose at least.
    """
    found = accepted(frames, min_confidence)
    figure = new_figure(12.0, 3.8)
    parts = (('pose', 6, np.s_[:]), ('position', 3, np.s_[:3]), ('rotation', 3, np.s_[3:]))
    for axis, (name, freedom, part) in zip(figure.subplots(1, 3), parts, strict=True):
        lengths = normalised_squares(found.errors[:, part], found.covariances[:, part, part])
        _nees(axis, lengths, freedom)
        mean = f'{lengths.mean():.2f}' if len(lengths) else '-'
        axis.set_title(f'{name}: mean {mean}, ideal {freedom}')
    return figure


def deviation_figure(frames: Sequence[FrameResult], min_confidence: float) -> Figure:
    """Errors of all poses against those that their covariances predict.

    Args:
        frames: at least one with a pose.
        min_confidence: that of an accepted pose at least; others are drawn apart.
    """
    found = posed(frames)
    trusted = found.confidences >= min_confidence
    figure = new_figure(10.0, 4.8)
    axes = figure.subplots(1, 2)
    for axis, part, factor, unit in (
        (axes[0], np.s_[:3], 100.0, 'position (cm)'),
        (axes[1], np.s_[3:], 180.0 / np.pi, 'rotation (deg)'),
    ):
        errors = factor * np.linalg.norm(found.errors[:, part], axis=1)
        variances = np.trace(found.covariances[:, part, part], axis1=1, axis2=2)
        predicted = factor * np.sqrt(np.maximum(variances, 0.0))
        _predictions(axis, predicted, errors, trusted)
        axis.set_xlabel(f'predicted error in {unit}')
        axis.set_ylabel(f'error in {unit}')
    return figure


def accepted(frames: Sequence[FrameResult], min_confidence: float) -> Posed:
    """The frames that have a pose and enough confidence."""
    found = posed(frames)
    chosen = found.confidences >= min_confidence
    return Posed(found.errors[chosen], found.covariances[chosen], found.confidences[chosen])


def _shares(
    axis: Axes, values: FloatArray, edges: Sequence[float], colour: str, label: str
) -> None:
    weights = np.full(len(values), 1.0 / max(len(values), 1))
    axis.hist(values, bins=edges, weights=weights, color=colour, alpha=0.55, label=label)


def _nees(axis: Axes, lengths: FloatArray, freedom: int) -> None:
    most = float(chi2.ppf(_NEES_SHOWN, freedom))
    # The last bar stands for all that lies beyond.
    edges = np.linspace(0.0, most, _NEES_BINS)
    width = float(edges[1])
    beyond = int((lengths >= most).sum())
    if len(lengths):
        counts = np.histogram(lengths[lengths < most], edges)[0]
        density = counts / (len(lengths) * width)
        axis.bar(edges[:-1], density, width, align='edge', color=ESTIMATED_COLOUR, alpha=0.55)
        axis.bar(
            most, beyond / (len(lengths) * width), width, align='edge', color=ERROR_COLOUR,
            alpha=0.55, label=f'{beyond} of {len(lengths)} beyond',
        )  # fmt: skip
    at = np.linspace(0.0, most, 200)
    axis.plot(at, chi2.pdf(at, freedom), color=TRUE_COLOUR, label=f'chi-square, {freedom}')
    interval = float(chi2.ppf(INTERVAL, freedom))
    axis.axvline(interval, color='0.5', linewidth=0.8, linestyle=':', label='90 %')
    axis.set_xlabel('squared error over covariance')
    axis.set_yticks([])
    axis.legend()


def _predictions(
    axis: Axes, predicted: FloatArray, errors: FloatArray, trusted: NDArray[np.bool_]
) -> None:
    both = np.concatenate([predicted, errors])
    both = both[np.isfinite(both) & (both > 0.0)]
    low, high = (both.min() / 1.3, both.max() * 1.3) if len(both) else (0.1, 10.0)
    ends = np.array([low, high])
    # For an isotropic covariance: |e|^2 / (trace / 3) has three degrees of freedom.
    bound = float(np.sqrt(chi2.ppf(INTERVAL, 3) / 3.0))
    axis.plot(ends, ends, color=TRUE_COLOUR, linewidth=0.9, label='as predicted')
    axis.plot(
        ends, bound * ends, color=TRUE_COLOUR, linewidth=0.9, linestyle=':',
        label='90 % should lie below',
    )  # fmt: skip
    axis.plot(predicted[trusted], errors[trusted], '.', color=ESTIMATED_COLOUR, label='accepted')
    if not trusted.all():
        axis.plot(
            predicted[~trusted], errors[~trusted], 'x', color=ERROR_COLOUR, markersize=4,
            label='not accepted',
        )  # fmt: skip
    for scale, limits in ((axis.set_xscale, axis.set_xlim), (axis.set_yscale, axis.set_ylim)):
        scale('log')
        limits(low, high)
    tick_1_2_5(axis.xaxis, high / low)
    tick_1_2_5(axis.yaxis, high / low)
    axis.set_aspect('equal')
    axis.grid(alpha=0.3)
    axis.legend(loc='upper left')
