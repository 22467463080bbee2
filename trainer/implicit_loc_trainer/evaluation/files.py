"""The results of an evaluation as files."""

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer.evaluation.frames import (
    CLOSED_FORM,
    Evaluation,
    FrameResult,
    stages_ms,
    summary,
    trust,
    worse_share,
)
from implicit_loc_trainer.evaluation.lost import LostDetection
from implicit_loc_trainer.evaluation.trajectories import write_tum
from implicit_loc_trainer.evaluation.trust import normalised_squares, pose_errors
from implicit_loc_trainer.output_files import replacing


def figures(
    evaluation: Evaluation,
    min_confidence: float,
    lost: LostDetection | None = None,
    runtime: str = '',
) -> dict[str, Any]:
    """What the JSON file holds; docs/evaluation.md says what it means.

    Args:
        evaluation: with at least one frame.
        min_confidence: that of an accepted pose at least.
        lost: results on foreign images, if there are any.
        runtime: what executed the network, by its exact name, if that is known.
    """
    values: dict[str, Any] = {
        'solver': evaluation.solver,
        'min_confidence': min_confidence,
        **_figures(evaluation.frames, min_confidence),
    }
    if evaluation.solvers:
        values['solvers'] = [
            {
                'name': name,
                **_figures(frames, min_confidence),
                **_against_closed_form(evaluation, frames),
            }
            for name, frames in evaluation.methods.items()
        ]
    if lost is not None:
        values['lost_detection'] = lost.as_json(min_confidence)
    if runtime:
        values['runtime'] = runtime
    return values


def write_json(
    path: Path,
    evaluation: Evaluation,
    min_confidence: float,
    lost: LostDetection | None = None,
    runtime: str = '',
) -> None:
    """Writes `figures`; those that are infinite or not known are null.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(
        figures(evaluation, min_confidence, lost, runtime), indent=2, allow_nan=False
    )
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Writes one line per frame; errors of lost frames are `inf`.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [_row(frame) for frame in evaluation.frames]
    for name, frames in evaluation.solvers.items():
        for row, frame in zip(rows, frames, strict=True):
            errors = _errors(frame)
            row.update({f'{name}_{column}': value for column, value in errors.items()})
    with (
        replacing(path) as temporary,
        temporary.open('w', encoding='utf-8', newline='') as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def write_estimates(path: Path, frames: Sequence[FrameResult]) -> None:
    """Writes the estimated poses as a TUM file; lost frames are left out.

    Raises:
        OSError: the file cannot be written.
    """
    localized = [
        (frame.timestamp, frame.estimated_pose)
        for frame in frames
        if frame.estimated_pose is not None
    ]
    write_tum(path, [stamp for stamp, _ in localized], [pose for _, pose in localized])


def _figures(frames: Sequence[FrameResult], min_confidence: float) -> dict[str, Any]:
    stages = stages_ms(frames)
    return {
        **summary(frames).as_json(),
        **trust(frames, min_confidence).as_json(),
        'used_fallback': sum(frame.used_fallback for frame in frames) / len(frames),
        'median_ms': stages.get('total'),
        'stages_ms': {name: value for name, value in stages.items() if name != 'total'},
    }


def _against_closed_form(
    evaluation: Evaluation, frames: Sequence[FrameResult]
) -> dict[str, float]:
    closed_form = evaluation.methods.get(CLOSED_FORM)
    return {} if closed_form is None else {'worse_share': worse_share(frames, closed_form)}


def _row(frame: FrameResult) -> dict[str, Any]:
    columns = [field.name for field in dataclasses.fields(ResidualStatistics)]
    residuals = {name: getattr(frame.residuals, name, None) for name in columns}
    identity = {'name': frame.name, 'timestamp': frame.timestamp}
    trusted = {'confidence': frame.confidence, **deviations(frame)}
    fallback = {'used_fallback': int(frame.used_fallback)}
    return {**identity, **_errors(frame), **trusted, **fallback, **residuals}


def _errors(frame: FrameResult) -> dict[str, Any]:
    return {
        'translation_error_m': frame.translation_error_m,
        'rotation_error_deg': frame.rotation_error_deg,
        'total_ms': 1000.0 * frame.timings['total'] if frame.timings else None,
        'lost_reason': frame.lost_reason,
    }


def deviations(frame: FrameResult) -> dict[str, float | None]:
    """The error that the covariance predicts (root of its trace), and the NEES."""
    if frame.estimated_pose is None or frame.covariance is None:
        return dict.fromkeys(('translation_deviation_m', 'rotation_deviation_deg', 'nees'))
    error = pose_errors(frame.true_pose, frame.estimated_pose)
    position, rotation = frame.covariance[:3, :3], frame.covariance[3:, 3:]
    return {
        'translation_deviation_m': float(np.sqrt(np.trace(position))),
        'rotation_deviation_deg': float(np.degrees(np.sqrt(np.trace(rotation)))),
        'nees': float(normalised_squares(error[None], frame.covariance[None])[0]),
    }
