"""Camera trajectories: as text, which datasets/parsing.py reads back, and as lines to draw."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from implicit_loc import poses
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.output_files import replacing

# Frames whose distance is this many times the usual one belong to different passes.
GAP_STEPS = 8.0


def write_tum(
    path: Path, timestamps: Sequence[float], world_from_camera: Sequence[FloatArray]
) -> None:
    """Writes a TUM trajectory.

    Args:
        path: the file; parent folders are made.
        timestamps: N, seconds.
        world_from_camera: N of (4, 4), metres.

    Raises:
        OSError: the file cannot be written.
    """
    lines = ['# timestamp tx ty tz qx qy qz qw (camera-to-world, metres)\n']
    for timestamp, pose in zip(timestamps, world_from_camera, strict=True):
        rotation = torch.from_numpy(np.ascontiguousarray(pose[:3, :3], dtype=np.float64))
        quaternion = poses.matrix_to_quaternion(rotation).numpy()
        numbers = ' '.join(f'{value:.9f}' for value in (*pose[:3, 3], *quaternion))
        lines.append(f'{timestamp:.9f} {numbers}\n')
    with replacing(path) as temporary:
        temporary.write_text(''.join(lines), encoding='utf-8')


def with_gaps(positions: FloatArray) -> FloatArray:
    """Positions (N, 3) with a NaN row wherever the recording jumps, so that no line is drawn."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if not steps.any():
        return positions
    jumps = np.flatnonzero(steps > GAP_STEPS * np.median(steps[steps > 0])) + 1
    return np.insert(positions, jumps, np.nan, axis=0)
