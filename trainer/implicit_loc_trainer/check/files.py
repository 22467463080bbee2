"""The report as JSON."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from implicit_loc_trainer.check.checking import Report
from implicit_loc_trainer.output_files import replacing

# Hypotheses that are listed; the others are worse.
_LISTED = 12


def figures(report: Report) -> dict[str, Any]:
    """What the JSON file holds; numbers that are not finite are null."""
    recording = report.recording
    values: dict[str, Any] = {
        'fit': report.is_fit,
        'frames': len(recording.samples),
        'splits': recording.split_names,
        'images_seen': len(recording.facts),
        'findings': [
            {
                'code': finding.code,
                'grade': finding.grade.value,
                'message': finding.message,
                'advice': finding.advice,
                **({'values': finding.values} if finding.values else {}),
            }
            for finding in report.findings
        ],
    }
    if report.pairs is not None:
        values['pairs'] = {
            'proposed': report.pairs.proposed,
            'confirmed': len(report.pairs.matches),
        }
    if report.labels is not None:
        values['labels'] = _labels(report)
    if report.depth is not None:
        values['network'] = {'near': report.depth.near, 'far': report.depth.far}
    if report.consistency is not None:
        names = recording.names(report.consistency.frame_errors)
        errors = report.consistency.frame_errors.values()
        values['frame_errors_px'] = dict(zip(names, errors, strict=True))
    finite: dict[str, Any] = _finite(values)
    return finite


def write_json(path: Path, report: Report) -> None:
    """Writes `figures`.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(figures(report), indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def _labels(report: Report) -> dict[str, Any]:
    labels = report.labels
    if labels is None:
        return {}
    hypotheses = [labels.given, *(one for one in labels.hypotheses if one.steps)][:_LISTED]
    values: dict[str, Any] = {
        'given_error_px': labels.given_px,
        'error_px': labels.best_px,
        'floor_px': labels.floor_px,
        'hypotheses': [
            {'code': one.code, 'error_px': one.error_px, 'front_share': one.front_share}
            for one in hypotheses
        ],
        'cameras': [
            {
                'model': fit.model,
                'error_px': fit.error_px,
                'focal_scale': fit.calibration.focal_scale,
                'shift_px': fit.calibration.shift_px,
                'radial': fit.calibration.radial,
            }
            for fit in labels.fits
        ],
    }
    if labels.offset is not None:
        values['time_offset'] = {
            'pose_stamps_plus_s': -labels.offset.best_s,
            'error_px': labels.offset.best_px,
            'given_error_px': labels.offset.given_px,
        }
    return values


def _finite(value: Any) -> Any:
    """The same in types of JSON, without NaN and infinity."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
