"""The results of an evaluation as files."""

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult, median_ms, summary
from implicit_loc_trainer.evaluation.trajectories import write_tum
from implicit_loc_trainer.output_files import replacing


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """What the JSON file holds: the summary, median_ms, and the same of PnP under 'pnp'."""
    values = _figures(evaluation.frames)
    if evaluation.pnp:
        values['pnp'] = _figures(evaluation.pnp)
    return values


def write_json(path: Path, evaluation: Evaluation) -> None:
    """Writes `figures`; infinite ones are null.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(figures(evaluation), indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Writes one line per frame; errors of lost frames are `inf`.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [_row(frame) for frame in evaluation.frames]
    for row, frame in zip(rows, evaluation.pnp, strict=False):
        errors = _errors(frame)
        row.update({f'pnp_{column}': value for column, value in errors.items()})
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


def _figures(frames: Sequence[FrameResult]) -> dict[str, Any]:
    milliseconds = median_ms(frames)
    values: dict[str, Any] = dict(summary(frames).as_json())
    values['median_ms'] = milliseconds if math.isfinite(milliseconds) else None
    return values


def _row(frame: FrameResult) -> dict[str, Any]:
    columns = [field.name for field in dataclasses.fields(ResidualStatistics)]
    residuals = {name: getattr(frame.residuals, name, None) for name in columns}
    identity = {'name': frame.name, 'timestamp': frame.timestamp}
    return {**identity, **_errors(frame), 'confidence': frame.confidence, **residuals}


def _errors(frame: FrameResult) -> dict[str, Any]:
    return {
        'translation_error_m': frame.translation_error_m,
        'rotation_error_deg': frame.rotation_error_deg,
        'total_ms': 1000.0 * frame.seconds if math.isfinite(frame.seconds) else None,
        'lost_reason': frame.lost_reason,
    }
