"""The map and the cameras as the data of the page's viewer."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.trajectories import with_gaps
from implicit_loc_trainer.report.measuring import Measured
from implicit_loc_trainer.report.point_cloud import PointCloud

FloatArray = NDArray[np.float64]

# One point for the GPU: 12 bytes, each field aligned as WebGL likes it.
_POINT = np.dtype([('position', '<u2', 3), ('weight', '<u2'), ('colour', 'u1', 3), ('', 'u1')])
_STEPS = 65535
# Points farther from the others than this many times the scene's size would flatten it all.
_BEYOND = 1.0
_MOST_FRAMES = 150
_MOST_TRACK_POINTS = 2000
# Cameras that look in all directions have no common up; then the world's z is as good as any.
_LEAST_AGREEMENT = 0.3


def scene(measured: Measured) -> dict[str, Any]:
    """Everything that viewer.js needs, ready for JSON.

    Coordinates are metres in the world frame; the points are little-endian 16-bit shares of the
    box between `low` and `high`.
    """
    positions = measured.cloud.positions.astype(np.float64)
    cameras = measured.training_poses[:, :3, 3]
    around = positions if len(positions) else cameras
    low, high = np.percentile(np.concatenate([around, cameras]), (1.0, 99.0), axis=0)
    margin = _BEYOND * np.maximum(high - low, 1e-3)
    low, high = low - margin, high + margin
    inside = ((positions >= low) & (positions <= high)).all(axis=1)
    centre = np.median(around, axis=0)
    radius = np.percentile(np.linalg.norm(around - centre, axis=1), 80.0)
    frames = measured.held_out.frames
    shown = frames[:: -(-len(frames) // _MOST_FRAMES)]
    return {
        'points': _packed(measured.cloud.at(inside), low, high),
        'count': int(inside.sum()),
        'left_out': int(len(inside) - inside.sum()),
        'low': _numbers(low),
        'high': _numbers(high),
        'centre': _numbers(centre),
        'radius': max(float(radius), 1e-3),
        'up': _numbers(_up(measured.training_poses)),
        'forward': _numbers(measured.training_poses[:, :3, 2].mean(axis=0)),
        'training': _lines(cameras),
        'truth': _lines(np.array([frame.true_pose[:3, 3] for frame in frames])),
        'frames': [_frame(frame) for frame in shown],
    }


def _packed(cloud: PointCloud, low: FloatArray, high: FloatArray) -> str:
    points = np.zeros(len(cloud), _POINT)
    points['position'] = np.round(_STEPS * (cloud.positions - low) / (high - low))
    points['weight'] = np.round(_STEPS * np.clip(cloud.weights, 0.0, 1.0))
    points['colour'] = cloud.colours
    return base64.b64encode(points.tobytes()).decode('ascii')


def _frame(frame: FrameResult) -> dict[str, Any]:
    found = frame.estimated_pose is not None
    return {
        'name': frame.name,
        'truth': _numbers(frame.true_pose[:3].ravel()),
        'estimate': _numbers(frame.estimated_pose[:3].ravel())
        if frame.estimated_pose is not None
        else None,
        'cm': round(100.0 * frame.translation_error_m, 1) if found else None,
        'deg': round(frame.rotation_error_deg, 2) if found else None,
    }


def _lines(positions: FloatArray) -> list[list[float]]:
    """Flat coordinates of each uninterrupted stretch of a trajectory."""
    kept = with_gaps(positions[:: -(-len(positions) // _MOST_TRACK_POINTS)])
    gaps = np.flatnonzero(np.isnan(kept[:, 0]))
    stretches = np.split(kept, gaps)
    return [_numbers(line[~np.isnan(line[:, 0])].ravel()) for line in stretches]


def _up(poses: FloatArray) -> FloatArray:
    """The direction, (3), that is up in most images: against the optical frame's y."""
    mean = -poses[:, :3, 1].mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > _LEAST_AGREEMENT else np.array([0.0, 0.0, 1.0])


def _numbers(values: FloatArray | Sequence[float]) -> list[float]:
    return [round(float(value), 4) for value in values]
