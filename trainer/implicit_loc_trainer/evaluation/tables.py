"""The figures of an evaluation in words, for every table that people read."""

import math
from collections.abc import Mapping, Sequence

from implicit_loc_trainer.evaluation.frames import (
    CLOSED_FORM,
    Evaluation,
    FrameResult,
    stages_ms,
    summary,
    trust,
    worse_share,
)

# What the keys of implicit_loc.solvers.SOLVERS are called.
_TITLES = {
    'unweighted': 'closed form, unweighted',
    'weighted': 'closed form',
    'rigid_ransac': 'rigid + RANSAC',
    'pnp_ransac': 'PnP + RANSAC',
    'refined': 'refined',
    'robust': 'refined, with fallback',
}


def title(solver: str) -> str:
    """What a solver is called in tables and pictures."""
    return _TITLES.get(solver, solver)


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
        'within 5 cm, 5 deg': percent(figures.recall_5cm_5deg),
        'within 10 cm, 5 deg': percent(figures.recall_10cm_5deg),
        'within 25 cm, 10 deg': percent(figures.recall_25cm_10deg),
        'gross failures': percent(figures.gross_failures),
        'used the fallback': percent(sum(frame.used_fallback for frame in frames) / len(frames)),
        'median time': milliseconds(stages_ms(frames), 'total'),
    }


def trust_cells(frames: Sequence[FrameResult], min_confidence: float) -> dict[str, str]:
    """The rest of a column of `cells`: what covariances and confidences are worth.

    Args:
        frames: at least one.
        min_confidence: that of an accepted pose at least.
    """
    figures = trust(frames, min_confidence)
    nees = f'{figures.nees_mean:.2f}' if figures.accepted else '-'
    return {
        f'accepted: confidence from {min_confidence:g} on': percent(figures.accepted),
        '  within 25 cm, 10 deg': percent(figures.accepted_within_25cm_10deg),
        '  mean NEES (6 is ideal)': nees,
        '  within 90 % interval, position': percent(figures.coverage90_translation),
        '  within 90 % interval, rotation': percent(figures.coverage90_rotation),
    }


def stage_cells(frames: Sequence[FrameResult]) -> dict[str, str]:
    """How long the stages took at the median, each over the frames in which it took part."""
    stages = stages_ms(frames)
    return {
        f'  {name}': milliseconds(stages, name)
        for name in stages
        if name not in ('total', 'solving')
    }


def solver_rows(evaluation: Evaluation) -> list[dict[str, str]]:
    """One row per solver, by the heads of the columns."""
    closed_form = evaluation.methods.get(CLOSED_FORM)
    rows = []
    for name, frames in evaluation.methods.items():
        figures = summary(frames)
        row = {
            'solver': name,
            'median': errors_text(figures.median_translation_m, figures.median_rotation_deg),
            'mean': errors_text(figures.mean_translation_m, figures.mean_rotation_deg),
            'within 5 cm, 5 deg': percent(figures.recall_5cm_5deg),
            'within 10 cm, 5 deg': percent(figures.recall_10cm_5deg),
            'within 25 cm, 10 deg': percent(figures.recall_25cm_10deg),
            'gross failures': percent(figures.gross_failures),
            'solving': milliseconds(stages_ms(frames), 'solving'),
        }
        if closed_form is not None:
            row[f'> 10 % worse than {CLOSED_FORM}'] = percent(worse_share(frames, closed_form))
        rows.append(row)
    return rows


def milliseconds(stages: Mapping[str, float], name: str) -> str:
    """The median of a stage such as '12.3 ms'; '-' where it never took part."""
    return f'{stages[name]:.1f} ms' if name in stages else '-'


def percent(share: float) -> str:
    """A share such as '97.5 %'; '-' where it is not known."""
    return f'{100 * share:.1f} %' if math.isfinite(share) else '-'
