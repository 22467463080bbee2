"""What the scripts of the page know of every frame."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_evaluation.frame_pictures import FrameViews
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.evaluation.files import deviations
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.metrics import CORRECT
from implicit_loc_trainer.evaluation.trajectories import GAP_STEPS

# About 300 bytes each: more make the page slow, and points that nobody can tell apart.
MOST_FRAMES = 20_000


def page_data(
    frames: Sequence[FrameResult], views: FrameViews, min_confidence: float, first: str
) -> dict[str, Any]:
    """Everything that the page's scripts draw, as JSON takes it.

    Args:
        frames: in the order of time, at least one; evenly thinned where there are very many,
            except for those that have pictures.
        views: pictures of some of them.
        min_confidence: that of an accepted pose at least.
        first: name of the frame that is shown at first.
    """
    step = math.ceil(len(frames) / MOST_FRAMES)
    kept = [
        frame
        for index, frame in enumerate(frames)
        if index % step == 0 or frame.name in views.by_name
    ]
    positions = np.array([frame.true_pose[:3, 3] for frame in kept])
    steps = np.linalg.norm(np.diff(positions, axis=0, prepend=positions[:1]), axis=1)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else math.inf
    extents = np.ptp(positions, axis=0)
    return {
        'frames': [
            {**_frame(frame, min_confidence), 'gap': bool(moved > GAP_STEPS * usual)}
            for frame, moved in zip(kept, steps, strict=True)
        ],
        'views': {
            name: {key: source for key, source in asdict(view).items() if source}
            for name, view in views.by_name.items()
        },
        # For a camera that is carried about, the axis of least extent is the height.
        'axes': ''.join('xyz'[axis] for axis in sorted(np.argsort(-extents, kind='stable')[:2])),
        'first': first,
    }


def _frame(frame: FrameResult, min_confidence: float) -> dict[str, Any]:
    reason = rejection(frame, min_confidence)
    is_wrong = frame.translation_error_m > CORRECT[0] or frame.rotation_error_deg > CORRECT[1]
    expected = deviations(frame)
    metres, degrees = (
        expected[name] for name in ('translation_deviation_m', 'rotation_deviation_deg')
    )
    return {
        'name': frame.name,
        't': round(frame.timestamp, 4),
        'cm': _number(100.0 * frame.translation_error_m, 3),
        'deg': _number(frame.rotation_error_deg, 4),
        'why': reason,
        'false': is_wrong and not reason,
        'reason': frame.lost_reason,
        'confidence': _number(frame.confidence, 4),
        'sigma_cm': _number(None if metres is None else 100.0 * metres, 3),
        'sigma_deg': _number(degrees, 4),
        'ms': _number(1000.0 * frame.timings['total'] if frame.timings else None, 2),
        'true': _position(frame.true_pose),
        'estimate': None if frame.estimated_pose is None else _position(frame.estimated_pose),
    }


def _position(pose: FloatArray) -> list[float]:
    return [round(float(value), 4) for value in pose[:3, 3]]


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
