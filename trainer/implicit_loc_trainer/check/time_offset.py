"""Do images and poses have the same clock? The poses are moved in time against the images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.conventions import score_of
from implicit_loc_trainer.check.epipolar import Correspondences
from implicit_loc_trainer.datasets.interpolation import PoseTrack

FloatArray = NDArray[np.float64]

LONGEST_S = 1.0
LONGEST_FRAMES = 30
_LEAST_FRAMES = 5

# Poses between frames further apart than this many usual intervals are not known.
_GAP_INTERVALS = 3.5

# Beyond, too few pairs lie inside of the track to be compared.
_LEAST_KNOWN_SHARE = 0.5


@dataclass(frozen=True)
class TimeOffset:
    """The epipolar error when poses are read some time after their images' stamps.

    Attributes:
        offsets_s: (K,) seconds.
        errors_px: (K,) median error of the pairs whose poses are known at every offset, pixels.
        best_s: where the error is least, refined between the steps.
        best_px: the error there.
        given_px: the error without an offset, of the same pairs.
        given_score: score without an offset.
        best_score: score with the best one.
        opposite_score: score with the best one in the other direction. Reading poses between
            two frames averages their noise, whichever the direction: no offset then.
        better_share: pairs that the best offset improves.
        interval_s: the usual time between frames.
    """

    offsets_s: FloatArray
    errors_px: FloatArray
    best_s: float
    best_px: float
    given_px: float
    given_score: float
    best_score: float
    opposite_score: float
    better_share: float
    interval_s: float


def find_time_offset(
    world_from_camera: FloatArray,
    timestamps: FloatArray,
    split: NDArray[np.intp],
    points: Correspondences,
    unit_px: float,
) -> TimeOffset | None:
    """Searches the offset between images and poses.

    Args:
        world_from_camera: (N, 4, 4).
        timestamps: (N,) seconds.
        split: (N,) frames of different splits are no sequence.
        points: correspondences.
        unit_px: as of score_of.

    Returns:
        None where the frames are no sequence in time, or too short for any offset.
    """
    tracks = _tracks(world_from_camera, timestamps, split)
    if tracks is None:
        return None
    interval = float(np.median(np.concatenate([np.diff(t.times) for t in tracks.values()])))
    longest = min(max(LONGEST_S, _LEAST_FRAMES * interval), LONGEST_FRAMES * interval)
    half = np.arange(1, round(longest / (0.5 * interval)) + 1) * 0.5 * interval

    def errors(offset_s: float) -> FloatArray:
        poses, known = _moved(tracks, timestamps, split, offset_s, interval)
        found = epipolar.pair_errors(epipolar.relative_poses(poses, points), points)
        return np.where(known[points.first] & known[points.second], found, np.nan)

    offsets: list[float] = [0.0]
    table = [errors(0.0)]
    for step in half:
        further = [errors(-step), errors(step)]
        known = np.isfinite([*table, *further]).all(axis=0)
        if known.mean() < _LEAST_KNOWN_SHARE or known.sum() < 5:
            break
        table += further
        offsets += [-float(step), float(step)]
    if len(offsets) < 3:
        return None
    return _evaluated(np.array(offsets), np.array(table), errors, interval, unit_px)


def moved_poses(
    world_from_camera: FloatArray,
    timestamps: FloatArray,
    split: NDArray[np.intp],
    offset: TimeOffset,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The poses at the images' stamps plus the best offset, and (N,) whether they are known.

    Beyond the ends of the recording they are not, and stay as they are.
    """
    tracks = _tracks(world_from_camera, timestamps, split)
    if tracks is None:
        return world_from_camera, np.ones(len(timestamps), dtype=bool)
    poses, known = _moved(tracks, timestamps, split, offset.best_s, offset.interval_s)
    return np.where(known[:, None, None], poses, world_from_camera), known


def _evaluated(
    offsets: FloatArray,
    table: FloatArray,
    errors: Callable[[float], FloatArray],
    interval_s: float,
    unit_px: float,
) -> TimeOffset:
    """Compares the offsets over the pairs that are known at all of them."""
    known = np.isfinite(table).all(axis=0)
    scores = np.array([score_of(row[known], unit_px) for row in table])
    order = np.argsort(offsets)
    best = _refined(offsets[order], scores[order], interval_s)
    found = errors(best)[known]
    given = table[0][known]
    if not np.isfinite(found).all() or score_of(found, unit_px) > scores.min():
        best, found = float(offsets[scores.argmin()]), table[scores.argmin()][known]
    return TimeOffset(
        offsets_s=offsets[order],
        errors_px=np.median(table[:, known], axis=1)[order],
        best_s=best,
        best_px=float(np.median(found)),
        given_px=float(np.median(given)),
        given_score=score_of(given, unit_px),
        best_score=score_of(found, unit_px),
        opposite_score=score_of(np.nan_to_num(errors(-best)[known], nan=np.inf), unit_px),
        better_share=float((found < given).mean()),
        interval_s=interval_s,
    )


def _refined(offsets: FloatArray, scores: FloatArray, interval_s: float) -> float:
    """The bottom of the parabola through the least score and its neighbours."""
    least = int(scores.argmin())
    if least in (0, len(offsets) - 1):
        return float(offsets[least])
    left, middle, right = scores[least - 1 : least + 2]
    curvature = left - 2.0 * middle + right
    if curvature <= 0.0:
        return float(offsets[least])
    return float(offsets[least] + 0.25 * interval_s * (left - right) / curvature)


def _tracks(
    world_from_camera: FloatArray, timestamps: FloatArray, split: NDArray[np.intp]
) -> dict[int, PoseTrack] | None:
    tracks = {}
    for number in np.unique(split):
        chosen = split == number
        if chosen.sum() < 3:
            return None
        track = PoseTrack.from_measurements(timestamps[chosen], world_from_camera[chosen])
        if len(track.times) < max(3, 0.9 * chosen.sum()):
            return None
        tracks[int(number)] = track
    return tracks


def _moved(
    tracks: dict[int, PoseTrack],
    timestamps: FloatArray,
    split: NDArray[np.intp],
    offset_s: float,
    interval_s: float,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Poses at the images' stamps plus an offset, and whether they are known."""
    poses = np.tile(np.eye(4), (len(timestamps), 1, 1))
    known = np.zeros(len(timestamps), dtype=bool)
    for number, track in tracks.items():
        chosen = split == number
        times = timestamps[chosen] + offset_s
        poses[chosen], known[chosen] = track.at(times, _GAP_INTERVALS * interval_s)
    return poses, known
