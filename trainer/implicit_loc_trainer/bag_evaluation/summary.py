"""The figures of a bag in words, for the terminal."""

import math

from implicit_loc_trainer.bag_evaluation.remarks import alignment_text, node_lines, remarks
from implicit_loc_trainer.bag_evaluation.writing import Outcome, Task
from implicit_loc_trainer.evaluation.tables import errors_text, percent


def summary_lines(task: Task, outcome: Outcome) -> list[str]:
    """A few lines: what was measured, and what came of it."""
    errors, service = outcome.figures.errors, outcome.figures.service
    accepted = outcome.figures.accepted
    lines = [
        f'{task.checkpoint.name} on {task.recording.bag}, {outcome.source.image_topic}',
        f'network           {outcome.runtime}',
        f'frames            {errors.frames}, {errors.lost} without a pose',
        f'all frames        median {_errors(errors, "median")}, mean {_errors(errors, "mean")}, '
        f'95th percentile {_errors(errors, "p95")}',
        f'recalls           {percent(errors.recall_5cm_5deg)} within 5 cm, 5 deg; '
        f'{percent(errors.recall_10cm_5deg)} within 10 cm, 5 deg; '
        f'{percent(errors.recall_25cm_10deg)} within 25 cm, 10 deg',
        f'availability      {percent(service.availability)} accepted, longest outage '
        f'{service.longest_outage_s:.2f} s{_rejected(outcome)}',
    ]
    if service.availability:
        lines += [
            f'accepted poses    median {_errors(accepted, "accepted_median")}, '
            f'RMSE {_errors(accepted, "accepted_rmse")}, '
            f'largest {_errors(accepted, "accepted_max")}',
            f'false accepts     {service.false_accepts} '
            f'({percent(service.false_accept_rate)}) beyond 25 cm or 10 deg',
            f'covariance        mean NEES {service.nees_mean:.2f} (6 is ideal), within 90 %: '
            f'position {percent(service.coverage90_translation)}, '
            f'rotation {percent(service.coverage90_rotation)}',
        ]
    if math.isfinite(service.latency_p50_ms):
        lines.append(
            f'latency           median {service.latency_p50_ms:.1f} ms, 95 % '
            f'{service.latency_p95_ms:.1f} ms, 99 % {service.latency_p99_ms:.1f} ms; '
            f'{1000 * outcome.found.seconds_per_frame:.1f} ms per frame with reading and pictures'
        )
    return [
        *lines,
        alignment_text(outcome.alignment),
        *remarks(
            outcome.source, outcome.evaluation.frames, task.min_confidence, outcome.alignment
        ),
        *node_lines(outcome.node),
    ]


def _errors(figures: object, name: str) -> str:
    metres, degrees = (
        getattr(figures, f'{name}_{unit}') for unit in ('translation_m', 'rotation_deg')
    )
    return errors_text(metres, degrees)


def _rejected(outcome: Outcome) -> str:
    reasons = ', '.join(f'{name}: {n}' for name, n in outcome.figures.rejected.items())
    return f'; rejected {reasons}' if reasons else ''
