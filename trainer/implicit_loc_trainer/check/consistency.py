"""Which frames contradict the others: single ones, a leap, or a whole second world."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# A pair contradicts when its error is this many times the usual one, within bounds in pixels at
# a width of 640.
_CONTRADICTS = 4.0
_LEAST_PX, _MOST_PX = 2.0, 5.0

# Two worlds explain the pairs when this share agrees with them; smaller groups are outliers.
_EXPLAINED = 0.92
_SMALLEST_WORLD = 0.08

# Splits lie in two worlds when the pairs across them, at least so many, err so many times more
# in the median than those inside the worse one. Poses of another tracker are often so rough
# that most of their own pairs contradict by the measure of the good ones.
_SPLIT_RATIO = 3.0
_LEAST_SPLIT_PAIRS = 6

# Of the pairs of an outlier, this share contradicts, and in the median by this many limits.
_OUTLIER_SHARE = 0.66
_OUTLIER_LIMITS = 1.5


def limit_px(errors: FloatArray, unit_px: float) -> float:
    """Above this error a pair contradicts the labels, pixels at full size."""
    usual = float(np.percentile(errors, 25.0)) if len(errors) else 0.0
    return float(np.clip(_CONTRADICTS * usual, _LEAST_PX * unit_px, _MOST_PX * unit_px))


@dataclass(frozen=True)
class Consistency:
    """How frames agree with each other.

    Attributes:
        limit_px: from which error on a pair contradicts the labels.
        bad_share: pairs that contradict.
        frame_errors: by frame, the median error of its pairs, pixels.
        outliers: frames that contradict most of their neighbours, which agree without them.
        agreeing_px: median error of the pairs that do not contradict.
        worlds: two groups of frames, each consistent in itself and not with the other, the
            larger one first; empty where there is one world.
    """

    limit_px: float
    bad_share: float
    frame_errors: dict[int, float]
    outliers: list[int]
    agreeing_px: float
    worlds: tuple[list[int], ...]


def judge(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    errors: FloatArray,
    unit_px: float,
    split: NDArray[np.intp] | None = None,
) -> Consistency:
    """Looks for worlds and outliers among pairs of frames.

    Args:
        first: (P,) frames.
        second: (P,) frames.
        errors: (P,) pixels at full size.
        unit_px: pixels at full size that one pixel at a width of 640 is.
        split: (N,) the split of each frame, 0 or 1; None = do not ask whether the splits are
            worlds. Wide views err more under a wrong camera or mount too, and often lie across
            the splits: repair those first.
    """
    limit = limit_px(errors, unit_px)
    worlds: tuple[list[int], ...] = ()
    if split is not None and (ends := split[np.stack([first, second])]).any():
        worlds, limit = _split_worlds(np.stack([first, second]), ends, errors, unit_px)
    bad = errors > limit
    worlds = worlds or _worlds(first, second, bad)
    outliers = _outliers(first, second, errors / limit, worlds)
    if worlds:
        worlds = tuple([frame for frame in one if frame not in outliers] for one in worlds)
    by_frame = _by_frame(first, second, errors)
    frame_errors = {frame: float(np.median(values)) for frame, values in by_frame.items()}
    share = float(bad.mean()) if len(bad) else 0.0
    agreeing = float(np.median(errors[~bad])) if not bad.all() else float(np.median(errors))
    return Consistency(limit, share, frame_errors, outliers, agreeing, worlds)


def _by_frame(
    first: NDArray[np.intp], second: NDArray[np.intp], values: NDArray[np.generic]
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for one, other, value in zip(first.tolist(), second.tolist(), values.tolist(), strict=True):
        found.setdefault(one, []).append(value)
        found.setdefault(other, []).append(value)
    return found


def _split_worlds(
    pairs: NDArray[np.intp], sides: NDArray[np.intp], errors: FloatArray, unit_px: float
) -> tuple[tuple[list[int], ...], float]:
    """The frames of the two splits where they are two worlds, else (); and the limit.

    Args:
        pairs: (2, P) frames.
        sides: (2, P) their splits, 0 or 1.
        errors: (P,) pixels at full size.
        unit_px: pixels at full size that one pixel at a width of 640 is.
    """
    total = sides.sum(axis=0)
    inside, across = (errors[total == 0], errors[total == 2]), errors[total == 1]
    pooled = limit_px(errors, unit_px)
    if min(len(across), *map(len, inside)) < _LEAST_SPLIT_PAIRS:
        return (), pooled
    limit = max(limit_px(group, unit_px) for group in inside)
    usual = max(float(np.median(group)) for group in inside)
    if float(np.median(across)) < max(_SPLIT_RATIO * usual, limit):
        return (), pooled
    worlds = [np.unique(pairs[sides == side]).tolist() for side in (0, 1)]
    return tuple(sorted(worlds, key=len, reverse=True)), limit


def _worlds(
    first: NDArray[np.intp], second: NDArray[np.intp], bad: NDArray[np.bool_]
) -> tuple[list[int], ...]:
    """Two groups such that pairs within agree and pairs across contradict; () if there are none.

    The leading eigenvectors of the signed graph (+1 agrees, -1 contradicts) give the sides, and
    single frames are then moved while that explains more pairs.
    """
    frames, edges = np.unique(np.stack([first, second]), return_inverse=True)
    edges = edges.reshape(2, -1)
    if not bad.any() or bad.all():
        return ()
    signed = np.zeros((len(frames), len(frames)))
    np.add.at(signed, (edges[0], edges[1]), np.where(bad, -1.0, 1.0))
    signed += signed.T
    degree = np.sqrt(np.maximum(np.abs(signed).sum(axis=1), 1.0))
    _, vectors = np.linalg.eigh(signed / degree / degree[:, None])
    candidates = [_settled(signed, np.where(v >= 0, 1.0, -1.0)) for v in vectors.T[:-4:-1]]
    side = max(candidates, key=lambda one: float(one @ signed @ one))
    across = side[edges[0]] != side[edges[1]]
    explained = float((across == bad).mean())
    if np.sum(side > 0) < np.sum(side < 0):
        side = -side
    smaller = side < 0
    inside = smaller[edges[0]] & smaller[edges[1]]
    is_world = (
        explained >= _EXPLAINED
        and explained - (1.0 - bad.mean()) >= 0.5 * bad.mean()
        and smaller.sum() >= max(4, _SMALLEST_WORLD * len(frames))
        and inside.sum() >= 0.3 * smaller.sum()
        and bad[inside].mean() < 0.2
    )
    return (frames[~smaller].tolist(), frames[smaller].tolist()) if is_world else ()


def _settled(signed: FloatArray, side: FloatArray) -> FloatArray:
    """Sides after moving single frames, the worst one first, until nothing gets better."""
    for _ in range(4 * len(side)):
        agreement = side * (signed @ side)
        worst = int(agreement.argmin())
        if agreement[worst] >= 0:
            break
        side[worst] = -side[worst]
    return side


def _outliers(
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    excess: FloatArray,
    worlds: tuple[list[int], ...],
) -> list[int]:
    """Frames that are taken out, the worst one first, until the others agree.

    Args:
        first: (P,) frames.
        second: (P,) frames.
        excess: (P,) error over the limit.
        worlds: pairs across them say nothing about single frames.
    """
    left = np.ones(len(first), dtype=bool)
    if worlds:
        smaller = np.isin(np.stack([first, second]), worlds[1])
        left = smaller[0] == smaller[1]
    outliers: list[int] = []
    while True:
        rated = []
        for frame, found in _by_frame(first[left], second[left], excess[left]).items():
            bad = sum(value > 1.0 for value in found)
            is_bad = bad >= max(2, _OUTLIER_SHARE * len(found))
            if is_bad and np.median(found) > _OUTLIER_LIMITS:
                # Of equally contradicted frames the one with the most pairs explains the most.
                rated.append((bad * bad / len(found), -frame))
        if not rated:
            return sorted(outliers)
        frame = -max(rated)[1]
        outliers.append(frame)
        left &= (first != frame) & (second != frame)
