"""What came back, compared with the truth: figures of a replay."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.evaluation.frames import FrameResult, summary
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.ros_messages import (
    DIAGNOSTICS_TYPE,
    MAP_FRAME,
    POSE_TYPE,
    TF_TYPE,
    matrix_of,
    parsed,
    stamp_of,
)
from replay.collector import Arrival
from replay.errors import ReplayError
from replay.playback import DIAGNOSTICS_TOPIC, NODE_NAME, POSE_TOPIC, TF_TOPIC
from replay.recording import TRUTH_TOPIC, Frame

# Keys of the node's counters on /diagnostics.
_REFUSED = 'refused: '
# The only stage that shows from outside.
_LATENCY = 'latency'


@dataclass(frozen=True)
class Figures:
    """Figures over all frames played; those without a pose count as infinitely wrong.

    Images that the node refused are counted by its reasons, as it reports them.

    Latency is from the stamp of an image, which is when the player was due to publish it, to the
    arrival of its pose at another process: transport both ways, the node's waiting and computing.
    """

    frames_played: int
    poses_received: int
    tf_received: int
    median_translation_m: float
    median_rotation_deg: float
    p95_translation_m: float
    p95_rotation_deg: float
    latency_p50_ms: float
    latency_p95_ms: float
    refused: dict[str, int]

    def as_json(self) -> dict[str, float | dict[str, int] | None]:
        """The figures by name, with None for infinite ones, since JSON knows no infinity."""
        return {
            name: value if isinstance(value, dict) or math.isfinite(value) else None
            for name, value in asdict(self).items()
        }


def clock_offset(arrivals: Iterable[Arrival], frames: Sequence[Frame]) -> int:
    """Nanoseconds from stamps as recorded to stamps as played.

    Raises:
        ReplayError: no true pose of these frames arrived.
    """
    recorded: dict[bytes, list[int]] = {}
    for frame in frames:
        # Doubles survive the way over DDS unchanged, so the position tells the frame.
        recorded.setdefault(frame.world_from_camera[:3, 3].tobytes(), []).append(frame.stamp)
    # A camera that stands still has one position at several stamps: all others outvote it.
    offsets: Counter[int] = Counter()
    for arrival in arrivals:
        if arrival.topic == TRUTH_TOPIC:
            truth = parsed(arrival.data, POSE_TYPE)
            position = matrix_of(truth.pose)[:3, 3].tobytes()
            played = stamp_of(truth.header)
            offsets.update(played - stamp for stamp in recorded.get(position, []))
    if not offsets:
        raise ReplayError('none of the true poses that were played has arrived')
    return offsets.most_common(1)[0][0]


def results(arrivals: Sequence[Arrival], frames: Sequence[Frame]) -> list[FrameResult]:
    """One result per frame, in their order; its timing is the latency of its pose.

    Raises:
        ReplayError: the true poses did not arrive.
    """
    offset = clock_offset(arrivals, frames)
    poses = _poses(arrivals)
    return [
        _result(frame, frames[0].stamp, offset, poses.get(frame.stamp + offset))
        for frame in frames
    ]


def transforms_received(arrivals: Sequence[Arrival], frames: Sequence[Frame]) -> int:
    """Frames for which a transform from the map arrived on /tf."""
    offset = clock_offset(arrivals, frames)
    stamps = {
        stamp_of(transform.header)
        for arrival in arrivals
        if arrival.topic == TF_TOPIC
        for transform in parsed(arrival.data, TF_TYPE).transforms
        if transform.header.frame_id == MAP_FRAME
    }
    return len(stamps & {frame.stamp + offset for frame in frames})


def refusals(arrivals: Iterable[Arrival]) -> dict[str, int]:
    """Images that the node refused, by reason, as it said last."""
    found: dict[str, int] = {}
    for arrival in arrivals:
        if arrival.topic == DIAGNOSTICS_TOPIC:
            for status in parsed(arrival.data, DIAGNOSTICS_TYPE).status:
                if status.name.startswith(f'{NODE_NAME}:'):
                    found = {
                        value.key.removeprefix(_REFUSED): int(value.value)
                        for value in status.values
                        if value.key.startswith(_REFUSED)
                    }
    return found


def figures(
    frames: Sequence[FrameResult], tf_received: int, refused: Mapping[str, int]
) -> Figures:
    """Sum up the results of all frames."""
    errors = summary(frames)
    latencies = [1000.0 * frame.timings[_LATENCY] for frame in frames if frame.timings]
    p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (math.nan, math.nan)
    return Figures(
        frames_played=errors.frames,
        poses_received=errors.frames - errors.lost,
        tf_received=tf_received,
        median_translation_m=errors.median_translation_m,
        median_rotation_deg=errors.median_rotation_deg,
        p95_translation_m=errors.p95_translation_m,
        p95_rotation_deg=errors.p95_rotation_deg,
        latency_p50_ms=float(p50),
        latency_p95_ms=float(p95),
        refused=dict(refused),
    )


def write_json(path: Path, values: Figures) -> None:
    """Write the figures.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(values.as_json(), indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def summary_text(values: Figures) -> str:
    """The figures for a reader, a few lines."""
    share = 100.0 * values.poses_received / values.frames_played
    centimetres = [
        _number(100.0 * v) for v in (values.median_translation_m, values.p95_translation_m)
    ]
    reasons = ', '.join(f'{reason}: {count}' for reason, count in values.refused.items())
    degrees = [_number(v) for v in (values.median_rotation_deg, values.p95_rotation_deg)]
    return '\n'.join(
        (
            f'frames played    {values.frames_played}',
            f'poses received   {values.poses_received} ({share:.1f} %)',
            f'TF received      {values.tf_received}',
            f'images refused   {sum(values.refused.values())}{reasons and f" ({reasons})"}',
            f'position error   median {centimetres[0]} cm, 95th percentile {centimetres[1]} cm',
            f'rotation error   median {degrees[0]} deg, 95th percentile {degrees[1]} deg',
            f'latency          median {values.latency_p50_ms:.0f} ms, '
            f'95th percentile {values.latency_p95_ms:.0f} ms '
            '(from image stamp to received pose)',
        )
    )


def _number(value: float) -> str:
    return f'{value:.1f}' if math.isfinite(value) else 'infinite'


def _poses(arrivals: Iterable[Arrival]) -> dict[int, tuple[NDArray[np.float64], int]]:
    """world_from_camera and time of arrival by stamp; the first pose of a stamp counts."""
    poses: dict[int, tuple[NDArray[np.float64], int]] = {}
    for arrival in arrivals:
        if arrival.topic == POSE_TOPIC:
            message = parsed(arrival.data, POSE_TYPE)
            pose = (matrix_of(message.pose), arrival.time)
            poses.setdefault(stamp_of(message.header), pose)
    return poses


def _result(
    frame: Frame, start: int, offset: int, answer: tuple[NDArray[np.float64], int] | None
) -> FrameResult:
    timestamp = (frame.stamp - start) / 1e9
    true = frame.world_from_camera
    if answer is None:
        return FrameResult(frame.name, timestamp, true, lost_reason='no pose arrived')
    estimated, arrived = answer
    return FrameResult(
        frame.name,
        timestamp,
        true,
        estimated_pose=estimated,
        translation_error_m=float(translation_error_m(true, estimated)),
        rotation_error_deg=float(rotation_error_deg(true, estimated)),
        timings={_LATENCY: (arrived - frame.stamp - offset) / 1e9},
    )
