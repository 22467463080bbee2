"""Which frames of a recording are kept from the training, so that its errors can be known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets import Sample

# Fewer errors fix no quantile.
FEWEST_FRAMES = 12

# Errors within a block are alike: several blocks tell more than one, but each costs a guard.
_FRAMES_PER_BLOCK = 15
_FEWEST_BLOCKS = 2
_MOST_BLOCKS = 10

# A frame that shows a calibration frame's view would give its pose away: as near as this, in
# shares of the scene's typical depth and in degrees, and never the next frames in time.
_GUARD_PARALLAX = 0.05
_GUARD_ANGLE_DEG = 10.0
_GUARD_FRAMES = 2

# Blocks are made fewer until their guards take no more than so many times their own frames.
_LARGEST_GUARD = 1.5


@dataclass(frozen=True)
class CalibrationSplit:
    """A recording, split.

    Attributes:
        learned: frames to train on, in their order.
        held_out: frames to calibrate on, in the order of the recording; empty where none can
            be held out.
        blocks: how many pieces of the recording these are.
        guards: how many frames are in neither, because they neighbour a held-out frame.
        reason: why nothing is held out; empty where something is.
    """

    learned: list[Sample]
    held_out: list[Sample]
    blocks: int = 0
    guards: int = 0
    reason: str = ''

    def described(self) -> str:
        """What was split, in one line."""
        if self.reason:
            return f'covariance and confidence will not be calibrated: {self.reason}'
        return (
            f'held out for calibration: {len(self.held_out)} frames in {self.blocks} blocks; '
            f'{self.guards} frames that show nearly the same are left out, '
            f'{len(self.learned)} are learned'
        )


def hold_out(samples: Sequence[Sample], share: float, typical_depth: float) -> CalibrationSplit:
    """Hold blocks of a recording out for calibration.

    The blocks are contiguous in time and evenly spread. Around each, frames are dropped whose
    view is nearly the same, whenever they were taken. Frames without an orientation are never
    held out. The same samples give the same split.

    Args:
        samples: of the recording.
        share: of the frames to hold out, in [0, 0.5]; 0 holds nothing out.
        typical_depth: of the scene, metres; it makes parallax of distances.
    """
    everything = list(samples)
    if share == 0:
        return CalibrationSplit(everything, [], reason='data.calibration_share is 0')
    order = _in_time([index for index, s in enumerate(samples) if s.has_orientation], samples)
    count = round(share * len(order))
    if count < FEWEST_FRAMES:
        reason = (
            f'of {len(order)} frames with whole poses {count} would be held out, '
            f'at least {FEWEST_FRAMES} are needed'
        )
        return CalibrationSplit(everything, [], reason=reason)
    blocks, held_out, guard = _blocks(samples, order, count, typical_depth)
    learned = ~guard
    learned[held_out] = False
    if learned.sum() < len(samples) / 2:
        reason = f'{guard.sum()} frames look nearly like the {count} that would be held out'
        return CalibrationSplit(everything, [], reason=reason)
    return CalibrationSplit(
        learned=[samples[index] for index in np.flatnonzero(learned)],
        held_out=[samples[index] for index in held_out],
        blocks=blocks,
        guards=int(guard.sum()),
    )


def _blocks(
    samples: Sequence[Sample], order: NDArray[np.intp], count: int, typical_depth: float
) -> tuple[int, NDArray[np.intp], NDArray[np.bool_]]:
    """How many blocks, the frames in them, and which other frames are near those, (N,)."""
    nearness = _Nearness(samples, typical_depth)
    most = int(np.clip(count // _FRAMES_PER_BLOCK, _FEWEST_BLOCKS, _MOST_BLOCKS))
    for blocks in range(most, _FEWEST_BLOCKS - 1, -1):
        places = _places(len(order), count, blocks)
        held_out = order[places]
        guard = nearness.within_guard(held_out)
        guard[order[_beside(places, len(order))]] = True
        guard[held_out] = False
        if guard[order].sum() <= _LARGEST_GUARD * count:
            break
    return blocks, held_out, guard


def _in_time(indices: Sequence[int], samples: Sequence[Sample]) -> NDArray[np.intp]:
    """Frames in the order in which they were taken; a list may name them in any."""

    def key(index: int) -> tuple[str, float, int]:
        # Each sequence has a folder, and stamps of its own.
        return str(Path(samples[index].name).parent), samples[index].timestamp, index

    return np.array(sorted(indices, key=key), dtype=np.intp)


def _places(frames: int, count: int, blocks: int) -> NDArray[np.intp]:
    """Places in time of `count` frames in blocks, each in the middle of its part."""
    ends = np.arange(blocks + 1)
    lengths = np.diff(ends * count // blocks)
    middles = (ends[:-1] + 0.5) * frames / blocks
    starts = np.floor(middles - lengths / 2).astype(np.intp)
    pieces = [start + np.arange(length) for start, length in zip(starts, lengths, strict=True)]
    return np.concatenate(pieces)


def _beside(places: NDArray[np.intp], frames: int) -> NDArray[np.intp]:
    offsets = np.arange(-_GUARD_FRAMES, _GUARD_FRAMES + 1)
    return np.unique(np.clip(places[:, None] + offsets, 0, frames - 1))


class _Nearness:
    """Which frames look nearly like others."""

    def __init__(self, samples: Sequence[Sample], typical_depth: float) -> None:
        poses = np.stack([sample.world_from_camera for sample in samples])
        self._positions, self._rotations = poses[:, :3, 3], poses[:, :3, :3]
        self._oriented = np.array([sample.has_orientation for sample in samples])
        self._distance = _GUARD_PARALLAX * typical_depth

    def within_guard(self, frames: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each frame is near one of those, (N,); an unknown orientation may be near."""
        near = np.zeros(len(self._positions), dtype=np.bool_)
        for frame in frames:
            distances = np.linalg.norm(self._positions - self._positions[frame], axis=1)
            # trace(R1^T R2) is the sum of the products of their entries.
            traces = np.einsum('nij,ij->n', self._rotations, self._rotations[frame])
            is_turned = (traces - 1) / 2 < np.cos(np.radians(_GUARD_ANGLE_DEG))
            near |= (distances < self._distance) & ~(is_turned & self._oriented)
        return near
