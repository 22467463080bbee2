"""The files of an evaluation of a bag."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from implicit_loc import poses
from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_writing import check_replaceable
from implicit_loc_trainer.datasets.bag_reader import StampedKey
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.evaluation.files import deviations
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.trajectories import write_tum
from implicit_loc_trainer.output_files import OutputError, check_writable, replacing

FIGURES, FRAMES, REPORT, PLOTS, RESULT_BAG = (
    'figures.json',
    'frames.csv',
    'report.html',
    'plots',
    'localized',
)
ESTIMATE, TRUTH = 'estimate.tum', 'truth.tum'

_POSE_COLUMNS = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')


def check_outputs(folder: Path, is_forced: bool) -> None:
    """Makes the folder, and refuses to overwrite what an earlier evaluation wrote.

    Raises:
        OutputError: the folder cannot be written, holds such files and that was not allowed, or
            something that is no bag stands where the bag belongs.
    """
    names = (FIGURES, FRAMES, REPORT, PLOTS, RESULT_BAG, ESTIMATE, TRUTH)
    existing = [name for name in names if (folder / name).exists()]
    if existing and not is_forced:
        raise OutputError(
            f'{folder} already holds {", ".join(existing)}: name another folder with --output, '
            'or overwrite with --force'
        )
    for name in (FIGURES, FRAMES, REPORT, ESTIMATE, TRUTH):
        check_writable(folder / name)
    check_replaceable(folder / RESULT_BAG)


def write_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes the figures as JSON.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(figures, indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def write_frames(
    path: Path,
    frames: Sequence[FrameResult],
    messages: Mapping[str, StampedKey],
    min_confidence: float,
) -> None:
    """Writes one line per frame; errors of frames without a pose are `inf`.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [_row(frame, messages[frame.name].stamp_ns, min_confidence) for frame in frames]
    with (
        replacing(path) as temporary,
        temporary.open('w', encoding='utf-8', newline='') as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)


def write_trajectories(
    folder: Path,
    frames: Sequence[FrameResult],
    messages: Mapping[str, StampedKey],
    min_confidence: float,
) -> None:
    """Writes the truth and the accepted estimates as TUM files, under the images' stamps.

    Raises:
        OSError: a file cannot be written.
    """
    stamps = {frame.name: messages[frame.name].stamp_ns * 1e-9 for frame in frames}
    write_tum(
        folder / TRUTH,
        [stamps[frame.name] for frame in frames],
        [frame.true_pose for frame in frames],
    )
    accepted = [
        (stamps[frame.name], frame.estimated_pose)
        for frame in frames
        if frame.estimated_pose is not None and not rejection(frame, min_confidence)
    ]
    write_tum(folder / ESTIMATE, [stamp for stamp, _ in accepted], [pose for _, pose in accepted])


def _row(frame: FrameResult, stamp_ns: int, min_confidence: float) -> dict[str, Any]:
    reason = rejection(frame, min_confidence)
    return {
        'name': frame.name,
        'stamp_ns': stamp_ns,
        'timestamp': frame.timestamp,
        'translation_error_m': frame.translation_error_m,
        'rotation_error_deg': frame.rotation_error_deg,
        'accepted': int(not reason),
        'rejected_because': reason,
        'lost_reason': frame.lost_reason,
        'confidence': frame.confidence,
        **deviations(frame),
        'total_ms': 1000.0 * frame.timings['total'] if frame.timings else None,
        **_pose('true', frame.true_pose),
        **_pose('estimated', frame.estimated_pose),
    }


def _pose(prefix: str, pose: FloatArray | None) -> dict[str, float | None]:
    columns = [f'{prefix}_{name}' for name in _POSE_COLUMNS]
    if pose is None:
        return dict.fromkeys(columns)
    quaternion = poses.matrix_to_quaternion(torch.tensor(pose[:3, :3], dtype=torch.float64))
    return dict(zip(columns, [*pose[:3, 3].tolist(), *quaternion.tolist()], strict=True))
