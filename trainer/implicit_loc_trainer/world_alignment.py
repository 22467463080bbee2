"""Where the world of a checkpoint lies in a robot's map, from poses that are known in both."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from implicit_loc import poses
from implicit_loc.alignment import align
from implicit_loc_trainer.datasets.interpolation import PoseTrack
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    numbered_lines,
    numbers,
    read_tum,
    rigid_from_quaternion,
)
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m

# Measurements further apart say too little about what is between them.
_MAX_GAP_S = 0.2
_POSE_VALUES = 7
# Positions that spread less than this across the line on which they lie best leave the turn
# about it open.
_LEAST_SPREAD_M = 0.05


@dataclass(frozen=True)
class PosePairs:
    """One body in two worlds.

    Attributes:
        names: of each pair, for people.
        world_from_body: (N, 4, 4), metres, in the world of the checkpoint.
        map_from_body: (N, 4, 4), metres, in the map of the robot.
    """

    names: list[str]
    world_from_body: FloatArray
    map_from_body: FloatArray


@dataclass(frozen=True)
class Fit:
    """A rigid motion and how well it brings the pairs together.

    Attributes:
        map_from_world: (4, 4), metres.
        errors_m: of each pair, (N,).
        errors_deg: likewise.
    """

    map_from_world: FloatArray
    errors_m: FloatArray
    errors_deg: FloatArray

    @property
    def values(self) -> list[float]:
        """The parameter world_alignment: x y z qx qy qz qw."""
        rotation = torch.from_numpy(self.map_from_world[:3, :3].copy())
        quaternion = poses.matrix_to_quaternion(rotation).tolist()
        return [*self.map_from_world[:3, 3].tolist(), *quaternion]


def pairs_of_trajectories(world: Path, robot_map: Path) -> PosePairs:
    """Pairs at the stamps of the first trajectory, the second interpolated to them.

    Args:
        world: TUM file in the world of the checkpoint.
        robot_map: TUM file of the same body in the map.

    Raises:
        DataError: a file cannot be read, is empty, or they do not overlap in time.
    """
    times, world_from_body = read_tum(world)
    map_times, map_from_body = read_tum(robot_map)
    for file, found in ((world, times), (robot_map, map_times)):
        if not len(found):
            raise DataError(f'{file} has no poses')
    track = PoseTrack.from_measurements(map_times, map_from_body)
    interpolated, known = track.at(times, _MAX_GAP_S)
    if not known.any():
        raise DataError(
            f'no pose of {world} ({times.min():.3f} to {times.max():.3f} s) has one in '
            f'{robot_map} ({map_times.min():.3f} to {map_times.max():.3f} s) that is less than '
            f'{_MAX_GAP_S} s away: are the stamps of one clock?'
        )
    names = [f'{time:.3f} s' for time in times[known]]
    return PosePairs(names, world_from_body[known], interpolated[known])


def pairs_of_table(file: Path) -> PosePairs:
    """Pairs from lines of 14 numbers: x y z qx qy qz qw in the world, then in the map.

    Raises:
        DataError: the file cannot be read, a malformed line, or no line.
    """
    found = []
    for number, line in numbered_lines(file):
        place = f'{file}:{number}'
        words = re.split(r'[,;\s]+', line)
        if len(words) != 2 * _POSE_VALUES:
            raise DataError(
                f'{place}: a pair is "x y z qx qy qz qw" in the world, then in the map: '
                f'14 numbers, found {len(words)} values'
            )
        values = numbers(place, words)
        both = [
            rigid_from_quaternion(place, part[:3], part[3:])
            for part in (values[:_POSE_VALUES], values[_POSE_VALUES:])
        ]
        found.append((f'line {number}', *both))
    if not found:
        raise DataError(f'{file} has no pairs of poses')
    names, world_from_body, map_from_body = zip(*found, strict=True)
    return PosePairs(list(names), np.array(world_from_body), np.array(map_from_body))


def fit(pairs: PosePairs, lever_m: float) -> Fit:
    """The rigid motion that brings the pairs closest, in least squares.

    Every pose stands for its position and for the tips of its three axes, so that orientations
    count, too: an error of angle as much as the path that the tips move.

    Args:
        pairs: N >= 1.
        lever_m: length of the axes, metres; 0 to fit positions alone.

    Raises:
        DataError: positions alone, and fewer than three or all on a line.
    """
    if lever_m == 0:
        _check_spread(pairs)
    tips = np.vstack([np.zeros(3), lever_m * np.eye(3)])
    world, robot_map = (
        torch.from_numpy(
            (bodies[:, None, :3, :3] @ tips[..., None])[..., 0] + bodies[:, None, :3, 3]
        )
        for bodies in (pairs.world_from_body, pairs.map_from_body)
    )
    world, robot_map = (points.reshape(1, -1, 3) for points in (world, robot_map))
    map_from_world = align(robot_map, world, torch.ones_like(world[..., 0]))[0].numpy()
    moved = map_from_world @ pairs.world_from_body
    return Fit(
        map_from_world,
        np.asarray(translation_error_m(pairs.map_from_body, moved)),
        np.asarray(rotation_error_deg(pairs.map_from_body, moved)),
    )


def _check_spread(pairs: PosePairs) -> None:
    positions = pairs.map_from_body[:, :3, 3]
    if len(positions) < 3:
        raise DataError(
            f'positions alone need three poses, there are {len(positions)}: give more, or leave '
            '--positions-only out'
        )
    centred = positions - positions.mean(axis=0)
    spread = np.linalg.svd(centred, compute_uv=False)[1] / np.sqrt(len(positions))
    if spread < _LEAST_SPREAD_M:
        raise DataError(
            f'the positions lie on a line (beside it they spread by {100 * spread:.1f} cm): the '
            'turn about it is not determined; leave --positions-only out, or drive a curve'
        )
