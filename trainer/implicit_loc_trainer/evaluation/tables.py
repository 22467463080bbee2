"""The figures of an evaluation in words, for every table that people read."""

import math
from collections.abc import Sequence

from implicit_loc_trainer.evaluation.frames import FrameResult, median_ms, summary


def errors_text(translation_m: float, rotation_deg: float) -> str:
    """An error such as '15.3 cm / 5.01 deg'; 'infinite' where a frame without a pose counts."""
    if not math.isfinite(translation_m):
        return 'infinite'
    return f'{100 * translation_m:.1f} cm / {rotation_deg:.2f} deg'


def cells(frames: Sequence[FrameResult]) -> dict[str, str]:
    """One column of a table of figures, by the label of the row.

    Args:
        frames: at least one.
    """
    figures = summary(frames)
    return {
        'frames (lost)': f'{figures.frames} ({figures.lost})',
        'median': errors_text(figures.median_translation_m, figures.median_rotation_deg),
        'mean': errors_text(figures.mean_translation_m, figures.mean_rotation_deg),
        '95th percentile': errors_text(figures.p95_translation_m, figures.p95_rotation_deg),
        'within 5 cm, 5 deg': f'{100 * figures.recall_5cm_5deg:.1f} %',
        'within 10 cm, 5 deg': f'{100 * figures.recall_10cm_5deg:.1f} %',
        'within 25 cm, 10 deg': f'{100 * figures.recall_25cm_10deg:.1f} %',
        'median time': f'{median_ms(frames):.1f} ms',
    }
