"""Which of all ways to read the poses the images speak for."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.epipolar import Correspondences
from implicit_loc_trainer.check.repairs import (
    DIRECTIONS,
    NOTHING,
    ORDERS,
    Step,
    axes_step,
    changed_poses,
    positions_step,
    proper_axes,
)

FloatArray = NDArray[np.float64]

# Of two explanations that fit almost equally well the simpler one is named.
_AS_GOOD = 1.15

# Correspondences with less parallax do not tell front from back, radians.
_LEAST_PARALLAX = 0.02

# Pixels at a width of 640; a worse pair is as wrong as it can be.
_CAP_PX = 10.0


@dataclass(frozen=True)
class Hypothesis:
    """One reading of the poses.

    Attributes:
        steps: the mistakes that it supposes; none for the poses as given.
        poses: world_from_camera as it reads them, (N, 4, 4).
        error_px: median epipolar error over the pairs, pixels at full size.
        score: mean of the pairs' errors, capped and scaled to [0, 1].
        better_share: pairs whose error is smaller than with the poses as given.
        front_share: triangulated points that lie in front of both cameras.
    """

    steps: tuple[Step, ...]
    poses: FloatArray
    error_px: float
    score: float
    better_share: float
    front_share: float = 1.0

    @property
    def code(self) -> str:
        """Of all steps, for programs."""
        return '+'.join(step.code for step in self.steps) or 'as-given'

    @property
    def words(self) -> str:
        """What the poses are."""
        return ', and '.join(step.words for step in self.steps) or 'as given'

    @property
    def advice(self) -> str:
        """What makes them right."""
        return '; '.join(step.advice for step in self.steps)


def score_of(errors: FloatArray, unit_px: float) -> float:
    """Mean of capped errors in [0, 1]: unlike a median it sees a wrong half of the pairs.

    Args:
        errors: of the pairs, pixels at full size.
        unit_px: pixels at full size that one pixel at a width of 640 is.
    """
    return float(np.minimum(errors / (_CAP_PX * unit_px), 1.0).mean())


def rate_conventions(
    world_from_camera: FloatArray, points: Correspondences, unit_px: float
) -> tuple[Hypothesis, list[Hypothesis]]:
    """All readings of the poses.

    Args:
        world_from_camera: as given, (N, 4, 4).
        points: correspondences.
        unit_px: as of score_of.

    Returns:
        The poses as given, and all readings, the best one first: the simplest of those that fit
        almost equally well.
    """
    given = epipolar.pair_errors(epipolar.relative_poses(world_from_camera, points), points)
    found = []
    for steps in _combinations():
        poses = world_from_camera
        for step in steps:
            poses = step.repair(poses)
        errors = epipolar.pair_errors(epipolar.relative_poses(poses, points), points)
        better = float((errors < given).mean())
        score = score_of(errors, unit_px)
        found.append(Hypothesis(steps, poses, float(np.median(errors)), score, better))
    least = min(found, key=lambda one: one.score)
    as_good = [one for one in found if one.score <= _AS_GOOD * least.score + 1e-9]
    sided = [one for one in (_sided(one, points) for one in as_good) if one is not None]
    sided.sort(key=lambda one: (one.front_share < 0.5, len(one.steps), one.score))
    rest = [one for one in found if not any(one is other for other in as_good)]
    return found[0], sided + sorted(rest, key=lambda one: one.score)


def _combinations() -> list[tuple[Step, ...]]:
    axes = [NOTHING, *(axes_step(matrix) for matrix in proper_axes()[1:])]
    positions = [positions_step(matrix) for matrix in proper_axes()[1:]]
    chains: list[tuple[Step, ...]] = list(itertools.product(ORDERS, DIRECTIONS, axes))
    chains += [(step,) for step in positions]
    return [tuple(step for step in steps if step is not NOTHING) for steps in chains]


def front_share(first_from_second: FloatArray, points: Correspondences) -> tuple[float, float]:
    """Shares of points with parallax that lie in front of, and behind, both cameras.

    Returns:
        (NaN, NaN) where nothing has parallax.
    """
    first, second, parallax = epipolar.depths(first_from_second, points)
    baseline = np.linalg.norm(first_from_second[:, :3, 3], axis=1) > 1e-9
    told = (parallax > _LEAST_PARALLAX) & baseline[:, None]
    if told.sum() < 20:
        return float('nan'), float('nan')
    front, behind = (first > 0) & (second > 0), (first < 0) & (second < 0)
    return float(front[told].mean()), float(behind[told].mean())


def _sided(hypothesis: Hypothesis, points: Correspondences) -> Hypothesis | None:
    """The hypothesis with its side: epipolar lines do not tell t from -t, depths do."""
    relative = epipolar.relative_poses(hypothesis.poses, points)
    front, behind = front_share(relative, points)
    values = vars(hypothesis)
    if not behind > max(front, 0.5):
        return Hypothesis(**{**values, 'front_share': 1.0 if np.isnan(front) else front})
    poses = changed_poses(hypothesis.poses, translation=-hypothesis.poses[:, :3, 3])
    steps = _mirrored(hypothesis.steps)
    return Hypothesis(**{**values, 'steps': steps, 'poses': poses, 'front_share': behind})


def _mirrored(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps in a mirrored camera frame or world."""
    for matrix in proper_axes():
        for build in (axes_step, positions_step):
            plain = build(matrix)
            if steps and plain.words == steps[-1].words:
                return (*steps[:-1], build(matrix, mirrored=True))
    return (*steps, positions_step(np.eye(3), mirrored=True))
