"""Which frames to compare: near in time, alike, or near each other by their poses.

The poses alone would propose the wrong pairs where they are wrong, and time alone never closes a
loop. Every proposal has to be confirmed by the images (matching.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check.matching import Match
from implicit_loc_trainer.check.recording import Recording

FloatArray = NDArray[np.float64]

# In frames that were looked at. No common divisor: see spread_frames.
GAPS = (1, 2, 3, 5, 8, 13, 21, 34)
PROBES = 15
LOOPS = 60

# Half of the probes have to show the same place at a gap that is used.
_CONFIRMED_SHARE = 0.6

# Of the image's width: motion below is too near to the noise of the features.
LEAST_DISPLACEMENT = 0.02
_GOOD_DISPLACEMENT = 0.05

# Cosine of the widest angle between two lines of sight that may still show the same place.
_SAME_VIEW = 0.8


@dataclass(frozen=True)
class Pairs:
    """The confirmed pairs.

    Attributes:
        matches: all of them.
        proposed: how many pairs were compared.
        gaps: the gaps in time that were used, in frames that were looked at; none where
            neighbours in the recording do not show the same place.
    """

    matches: list[Match]
    proposed: int
    gaps: tuple[int, ...]


def confirmed_pairs(recording: Recording, frames: list[int]) -> Pairs:
    """Proposes pairs of the frames and keeps those that the images confirm.

    Args:
        recording: with the features of the frames.
        frames: indices, increasing.
    """
    usable = [frame for frame in frames if frame in recording.features]
    gaps = _gaps(recording, usable)
    proposals = [
        (usable[rank], usable[rank + gap])
        for gap in gaps
        for rank in range(len(usable) - gap)
        if recording.split[usable[rank]] == recording.split[usable[rank + gap]]
    ]
    apart = 2 * max(gaps, default=1)
    proposals += _alike(recording, usable, apart)
    proposals += _near_by_pose(recording, usable, apart)
    recording.match(proposals)
    confirmed = [found for found in recording.matches.values() if found is not None]
    confirmed.sort(key=lambda found: (found.first, found.second))
    return Pairs(confirmed, len(recording.matches), gaps)


def _gaps(recording: Recording, frames: list[int]) -> tuple[int, ...]:
    """Two gaps: the nearest with enough motion, and a wider one that still shows the same."""
    confirmed: dict[int, list[Match]] = {}
    for gap in GAPS:
        starts = len(frames) - gap
        if starts < 1:
            break
        ranks = np.unique(np.linspace(0, starts - 1, min(PROBES, starts)).astype(int))
        pairs = [(frames[rank], frames[rank + gap]) for rank in ranks]
        found = recording.match(pairs)
        if len(found) < _CONFIRMED_SHARE * len(pairs):
            break
        confirmed[gap] = found
    if not confirmed:
        return (1,)
    motion = {
        gap: float(np.median([found.displacement for found in matches]))
        for gap, matches in confirmed.items()
    }
    enough = [gap for gap in motion if motion[gap] >= _GOOD_DISPLACEMENT]
    narrow = min(enough, default=max(motion))
    wider = [gap for gap in motion if gap > narrow]
    return (narrow, wider[len(wider) // 2]) if wider else (narrow,)


def _alike(recording: Recording, frames: list[int], apart: int) -> list[tuple[int, int]]:
    """The most similar frame, far in time, of frames all over the recording."""
    thumbnails = np.array([recording.facts[frame].thumbnail for frame in frames])
    if len(frames) <= apart:
        return []
    similarity = (thumbnails @ thumbnails.T).astype(np.float64)
    return _best_partners(similarity, recording, frames, apart)


def _near_by_pose(recording: Recording, frames: list[int], apart: int) -> list[tuple[int, int]]:
    """The nearest frame that looks the same way, far in time, by the poses as they are."""
    if len(frames) <= apart:
        return []
    poses = recording.world_from_camera[frames]
    distance = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
    cosine = poses[:, :3, 2] @ poses[:, :3, 2].T
    nearness = np.where(cosine > _SAME_VIEW, -distance, -np.inf)
    return _best_partners(nearness, recording, frames, apart)


def _best_partners(
    score: FloatArray, recording: Recording, frames: list[int], apart: int
) -> list[tuple[int, int]]:
    """For frames all over the recording, the partner of the highest finite score."""
    ranks = np.arange(len(frames))
    split = recording.split[frames]
    near = np.abs(ranks[:, None] - ranks) < apart
    score = np.where(near & (split[:, None] == split), -np.inf, score)
    pairs = []
    for rank in np.unique(np.linspace(0, len(frames) - 1, LOOPS).astype(int)):
        # Of each other split too: it may lie in a world of its own.
        for other in range(len(recording.split_names)):
            row = np.where(split == other, score[rank], -np.inf)
            best = int(row.argmax())
            if np.isfinite(row[best]):
                pairs.append((frames[rank], frames[best]))
    return pairs
