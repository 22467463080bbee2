"""Whether a map is good, in words, and what to do where it is not."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from implicit_loc_trainer.evaluation.frames import FrameResult, summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.evaluation.tables import errors_text
from implicit_loc_trainer.report.measuring import COMPARED, Measured
from implicit_loc_trainer.report.run_log import Curve

# Shares of frames within 25 cm and 10 deg.
_GOOD, _USABLE = 0.9, 0.6
_MANY_LOST = 0.05
# New frames this many times worse than known ones: the network has learned images by heart.
_LARGE_GAP = 2.5
# PnP does without depths and weights: this much better without them, they are the weak part.
_PNP_BETTER = 0.6
# A training that gained this share in its last third had not come to its end.
_STILL_GAINING = 0.08


@dataclass(frozen=True)
class Verdict:
    """What stands at the top of the report.

    Attributes:
        grade: 'good', 'usable' or 'poor'.
        headline: the figures that matter, one sentence.
        advice: what to do next, most useful first; empty where nothing has to be done.
    """

    grade: str
    headline: str
    advice: list[str]


def judge(measured: Measured, curves: Mapping[str, Curve]) -> Verdict:
    """Judges the results on held-out frames; training frames and curves tell the reason."""
    figures = summary(measured.held_out.frames)
    share = figures.recall_25cm_10deg
    grade = 'good' if share >= _GOOD else 'usable' if share >= _USABLE else 'poor'
    error = errors_text(figures.median_translation_m, figures.median_rotation_deg)
    lost = f'; {figures.lost} of them gave no pose' if figures.lost else ''
    headline = (
        f'Median error {error}; {100 * share:.0f} % of {figures.frames} held-out frames '
        f'lie within 25 cm and 10 deg{lost}.'
    )
    advice = [
        *_lost_frames(measured.held_out.frames, figures),
        *(_reasons(measured, figures, curves) if grade != 'good' else []),
    ]
    return Verdict(grade, headline, advice)


def _lost_frames(frames: Sequence[FrameResult], figures: ErrorSummary) -> list[str]:
    if figures.lost < _MANY_LOST * figures.frames or not figures.lost:
        return []
    reasons = Counter(frame.lost_reason for frame in frames if frame.estimated_pose is None)
    reason, count = reasons.most_common(1)[0]
    return [f'{figures.lost} frames gave no pose, {count} of them because of: {reason}.']


def _reasons(measured: Measured, figures: ErrorSummary, curves: Mapping[str, Curve]) -> list[str]:
    known = summary(measured.known)
    known_error = errors_text(known.median_translation_m, known.median_rotation_deg)
    advice = []
    if known.recall_25cm_10deg < _USABLE:
        advice.append(
            f'Even the frames that were learned from are off by {known_error} at the median. '
            'Most often the recording is the reason: a wrong pose convention, focal length or '
            'time offset. `implicit-loc check DATA` finds these.'
        )
    elif figures.median_translation_m > _LARGE_GAP * known.median_translation_m:
        advice.append(
            f'Frames that were learned from are off by {known_error} at the median, new ones by '
            'far more: record more of the place. The held-out frames lie '
            f'{100 * measured.nearest_m:.0f} cm and {measured.nearest_deg:.0f} deg from the '
            'nearest training frame at the median; walk where the worst frames below were taken, '
            'and look around there.'
        )
    if _still_gaining(curves):
        advice.append(
            'The errors were still falling when the training ended: train for more epochs '
            '(`--optimizer.epochs`).'
        )
    advice.extend(_weak_depth(measured))
    return advice or [
        'Known and new frames are about equally far off: train for more epochs '
        '(`--optimizer.epochs`), and see below which frames are the worst.'
    ]


def _weak_depth(measured: Measured) -> list[str]:
    with_depth, without = (measured.held_out.methods.get(name) for name in COMPARED)
    if not with_depth or not without:
        return []
    pnp, closed_form = summary(without), summary(with_depth)
    if not pnp.median_translation_m < _PNP_BETTER * closed_form.median_translation_m:
        return []
    near, far = measured.description.network.near, measured.description.network.far
    return [
        'The closed form, which uses the depth, is off by '
        f'{100 * closed_form.median_translation_m:.1f} cm, PnP on the same world points by '
        f'{100 * pnp.median_translation_m:.1f} cm only: '
        'the depth is the weaker part. Check that the range of depths '
        f'({near:g} to {far:g} m, `--network.near`, `--network.far`) is that of the place.'
    ]


def _still_gaining(curves: Mapping[str, Curve]) -> bool:
    """Whether the held-out error, smoothed, fell clearly in the last third of the training."""
    curve = curves.get('validation/median_translation_m')
    if curve is None or len(curve.values) < 6:
        return False
    third = len(curve.values) // 3
    earlier = float(np.median(curve.values[-2 * third : -third]))
    last = float(np.median(curve.values[-third:]))
    return math.isfinite(earlier) and last < (1.0 - _STILL_GAINING) * earlier
