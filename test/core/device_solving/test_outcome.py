"""What comes down loses nothing, and only what is certain counts as decided."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from implicit_loc.device_solving import Outcome
from implicit_loc.device_solving.outcome import Parts, pack, unpack
from implicit_loc.landmark_alignment import CLEAR_SHARE
from implicit_loc.solvers import LEAST_INLIER_RATIO

if TYPE_CHECKING:
    from conftest import Scene

MakeScene = Callable[..., 'Scene']


def _changed(outcome: Outcome, **parts: object) -> Outcome:
    return replace(outcome, parts=outcome.parts._replace(**parts))


def test_packing_loses_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 4), (4, 4), (3, 3), (8,), (48, 6), (6, 6), (), (), (), (), (200, 3)]
    parts = Parts(*(torch.rand(s, generator=generator, dtype=torch.float64) for s in shapes))
    packed, found_shapes = pack(parts)
    assert list(found_shapes) == shapes
    for found, expected in zip(unpack(packed.numpy(), found_shapes), parts, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('has_landmarks', [True, False])
def test_a_doubt_is_for_the_host(make_scene: MakeScene, has_landmarks: bool) -> None:
    """Whatever it is about: the pose, the spread of the cells, or what the device says itself."""
    usual = make_scene(has_landmarks=has_landmarks).on_device()
    assert usual.is_decided
    pose = usual.parts.world_from_camera
    assert not _changed(usual, is_usual=np.float64(0)).is_decided
    assert not _changed(usual, world_from_camera=pose * np.nan).is_decided
    assert not _changed(usual, world_from_camera=pose * 1.1).is_decided
    assert not _changed(usual, covariance_of_clouds=np.zeros((3, 3))).is_decided
    assert not _changed(usual, covariance_of_clouds=np.full((3, 3), np.nan)).is_decided


def test_landmarks_must_be_as_clear_as_on_the_host(make_scene: MakeScene) -> None:
    usual = make_scene().on_device()
    looked_for = float(usual.parts.looked_for)
    just = np.float64(np.ceil(CLEAR_SHARE * looked_for))
    assert _changed(usual, agreeing=just).is_decided
    assert not _changed(usual, agreeing=just - 1).is_decided
    # Of a handful, chance brings any share.
    assert not _changed(usual, agreeing=np.float64(10), looked_for=np.float64(10)).is_decided


def test_cells_must_agree_as_much_as_on_the_host(make_scene: MakeScene) -> None:
    usual = make_scene(has_landmarks=False).on_device()
    assert _changed(usual, inlier_ratio=np.float64(LEAST_INLIER_RATIO)).is_decided
    for ratio in (0.99 * LEAST_INLIER_RATIO, np.nan):
        assert not _changed(usual, inlier_ratio=np.float64(ratio)).is_decided
