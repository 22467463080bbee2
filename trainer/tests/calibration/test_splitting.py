"""Held-out blocks tell about new views: no learned frame shows nearly the same."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.calibration.splitting import FEWEST_FRAMES, hold_out
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)
TYPICAL_DEPTH = 2.0
GUARD_M, GUARD_DEG = 0.1, 10.0

# Position (metres) and heading (radians) at a time in [0, 1].
Path = Callable[[float], tuple[float, float]]


def _straight(time: float) -> tuple[float, float]:
    return 10 * time, 0.0


def _there_and_back(time: float) -> tuple[float, float]:
    return 10 * (1 - abs(2 * time - 1)), 0.0


def _on_the_spot(time: float) -> tuple[float, float]:
    return 0.0, 12 * time


def _samples(count: int, path: Path = _straight, name: str = '{:05}') -> list[Sample]:
    frames = []
    for index in range(count):
        x, heading = path(index / count)
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0.0, heading, 0.0]).as_matrix()
        pose[0, 3] = x
        frames.append(
            Sample(name.format(index), CAMERA, pose, index / 30, lambda: np.zeros((48, 64, 3)))
        )
    return frames


def _names(samples: list[Sample]) -> list[str]:
    return [sample.name for sample in samples]


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(130, 500),
    share=st.floats(0.1, 0.3),
    path=st.sampled_from([_straight, _there_and_back, _on_the_spot]),
)
def test_no_learned_frame_is_near_a_held_out_one(count: int, share: float, path: Path) -> None:
    samples = _samples(count, path)
    split = hold_out(samples, share, TYPICAL_DEPTH)
    if split.reason:
        assert split.learned == samples
        assert not split.held_out
        return
    assert len(split.held_out) == round(share * count)
    assert len(split.learned) + len(split.held_out) + split.guards == count
    learned = np.stack([sample.world_from_camera for sample in split.learned])
    places = {sample.name: index for index, sample in enumerate(samples)}
    indices = np.array([places[name] for name in _names(split.learned)])
    for sample in split.held_out:
        metres = translation_error_m(sample.world_from_camera, learned)
        degrees = rotation_error_deg(sample.world_from_camera, learned)
        assert not ((metres < GUARD_M) & (degrees < GUARD_DEG)).any()
        assert np.abs(indices - places[sample.name]).min() > 2


def test_several_blocks_are_spread_over_the_recording() -> None:
    split = hold_out(_samples(1000), 0.1, TYPICAL_DEPTH)
    places = np.array([int(name) for name in _names(split.held_out)])
    assert split.blocks == 6
    starts = places[np.flatnonzero(np.diff(places, prepend=-9) > 1)]
    assert len(starts) == split.blocks
    assert np.diff(starts).std() < 2


def test_the_split_does_not_depend_on_the_order_of_a_list() -> None:
    samples = _samples(300)
    shuffled = [samples[index] for index in np.random.default_rng(0).permutation(300)]
    assert _names(hold_out(shuffled, 0.1, TYPICAL_DEPTH).held_out) == _names(
        hold_out(samples, 0.1, TYPICAL_DEPTH).held_out
    )


def test_sequences_with_stamps_of_their_own_are_not_mixed() -> None:
    sequences = [_samples(200, name=f'seq-{number}/{{:05}}') for number in (1, 2)]
    split = hold_out([*sequences[0], *sequences[1]], 0.1, TYPICAL_DEPTH)
    assert split.blocks == 2
    names = _names(split.held_out)
    assert [name.split('/')[0] for name in names] == ['seq-1'] * 20 + ['seq-2'] * 20


def test_frames_without_an_orientation_are_learned_or_left_out() -> None:
    """One at a held-out position might show what the held-out frame does."""
    whole = _samples(300)
    positions = [replace(sample.position_only(), name=f'p{sample.name}') for sample in whole]
    split = hold_out([*whole, *positions], 0.1, TYPICAL_DEPTH)
    assert all(sample.has_orientation for sample in split.held_out)
    assert _names(split.held_out) == _names(hold_out(whole, 0.1, TYPICAL_DEPTH).held_out)
    held_out, learned = set(_names(split.held_out)), set(_names(split.learned))
    assert not {f'p{name}' for name in held_out} & learned


@pytest.mark.parametrize(
    ('samples', 'share', 'reason'),
    [
        (_samples(300), 0.0, 'calibration_share is 0'),
        (_samples(10 * FEWEST_FRAMES - 6), 0.1, f'at least {FEWEST_FRAMES} are needed'),
        ([sample.position_only() for sample in _samples(300)], 0.1, 'of 0 frames with whole'),
        (_samples(300, lambda _: (0.0, 0.0)), 0.1, 'look nearly like'),
    ],
)
def test_a_recording_that_cannot_spare_frames_is_learned_whole(
    samples: list[Sample], share: float, reason: str
) -> None:
    split = hold_out(samples, share, TYPICAL_DEPTH)
    assert split.learned == samples
    assert not split.held_out
    assert reason in split.described()
