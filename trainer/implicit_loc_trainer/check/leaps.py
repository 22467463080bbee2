"""Leaps of the poses, held against the images: did the camera leap, or only its label?"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.labels import LabelDiagnosis, corrected
from implicit_loc_trainer.check.motion import Steps
from implicit_loc_trainer.check.recording import Recording

FloatArray = NDArray[np.float64]

# Leaps that are looked at, the largest ones first.
MOST_LEAPS = 30


@dataclass(frozen=True)
class Leaps:
    """What became of the leaps.

    Attributes:
        jumps: frames after which the poses go on elsewhere while the images go on as before.
        outliers: frames whose pose leaps away and back.
        cuts: frames after which the images leap as well: the recording is cut there.
        fast: frames after which the camera really moved that fast.
        reach: in frames, within which a jump makes frames contradict their neighbours.
    """

    jumps: list[int]
    outliers: list[int]
    cuts: list[int]
    fast: list[int]
    reach: int


def examine(
    recording: Recording,
    steps: Steps,
    labels: LabelDiagnosis,
    reach: int,
    limit_px: float,
) -> Leaps:
    """Matches frames around the largest leaps.

    Args:
        recording: its images are matched as needed.
        steps: of the poses.
        labels: as they fit best.
        reach: in frames, at which images show the same place with enough motion between them.
        limit_px: above it a pair contradicts.
    """
    largest = np.argsort(-steps.leap, kind='stable')[:MOST_LEAPS]
    starts = sorted(int(steps.first[k]) for k in largest if steps.leap[k] > 1.0)
    starts = [start for start in starts if labels.known[start] and labels.known[start + 1]]
    spans = {start: _spanning(recording, start, reach) for start in starts}
    around = {
        frame: _around(recording, frame, reach)
        for frame in sorted({frame for start in starts for frame in (start, start + 1)})
    }
    every = [pair for pairs in (*spans.values(), *around.values()) for pair in pairs]
    recording.match(every)
    bad = _contradictions(recording, every, labels, limit_px)
    outliers = sorted(frame for frame, pairs in around.items() if _share(pairs, bad) > 0.6)
    leaps = Leaps([], outliers, [], [], reach)
    for start, pairs in spans.items():
        seen = [bad[pair] for pair in pairs if pair in bad]
        apart = [pair for pair in pairs if not set(pair) & set(outliers)]
        if not seen:
            leaps.cuts.append(start)
        elif _share(apart, bad) > 0.5:
            leaps.jumps.append(start)
        elif not {start, start + 1} & set(outliers):
            leaps.fast.append(start)
    left = [frame for frame in outliers if frame not in beside_jumps(leaps)]
    return replace(leaps, outliers=left)


def beside_jumps(leaps: Leaps) -> set[int]:
    """Frames so near to a jump that they contradict their neighbours across it."""
    return {
        frame
        for jump in leaps.jumps
        for frame in range(jump - leaps.reach, jump + leaps.reach + 2)
    }


def _spanning(recording: Recording, start: int, reach: int) -> list[tuple[int, int]]:
    """Pairs with one frame on each side of the step from start to start + 1."""
    reaches = sorted({max(1, reach // 4), max(1, reach // 2), reach})
    pairs = [(start - far // 2, start + 1 + (far - far // 2)) for far in reaches]
    pairs += [(start - far, start + 1) for far in reaches] + [
        (start, start + 1 + far) for far in reaches
    ]
    return _inside(recording, pairs)


def _around(recording: Recording, frame: int, reach: int) -> list[tuple[int, int]]:
    half = max(2, reach // 2)
    before, after = (frame - reach, frame - half), (frame + half, frame + reach)
    pairs = [*((other, frame) for other in before), *((frame, other) for other in after)]
    return _inside(recording, pairs)


def _inside(recording: Recording, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    count = len(recording.samples)
    return [
        (first, second)
        for first, second in pairs
        if first >= 0 and second < count and recording.split[first] == recording.split[second]
    ]


def _contradictions(
    recording: Recording,
    pairs: list[tuple[int, int]],
    labels: LabelDiagnosis,
    limit_px: float,
) -> dict[tuple[int, int], bool]:
    """Of the pairs that show the same place, whether they contradict the poses."""
    matches = recording.match(pairs)
    if not matches:
        return {}
    points = corrected(labels, recording.correspondences(matches), recording.samples[0].camera)
    errors = epipolar.pair_errors(epipolar.relative_poses(labels.poses, points), points)
    return {
        (found.first, found.second): bool(error > limit_px)
        for found, error in zip(matches, errors, strict=True)
        if labels.known[found.first] and labels.known[found.second]
    }


def _share(pairs: list[tuple[int, int]], bad: dict[tuple[int, int], bool]) -> float:
    known = [bad[pair] for pair in pairs if pair in bad]
    return sum(known) / len(known) if len(known) >= 2 else 0.0
