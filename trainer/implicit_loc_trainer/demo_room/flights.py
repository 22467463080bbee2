"""Paths of the camera through the demo room: several to train on, another one to test on.

All are closed curves round the table or across it, given by a few harmonics, so that position
and gaze are smooth. The camera's pose is at 10 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from implicit_loc_trainer.demo_room.shapes import Array

FRAMES_PER_SECOND = 10.0
# (amplitude, cycles per round, phase in radians), summed as amplitude * sin(cycles * a + phase)
Harmonics = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Flight:
    """A recording: a name and the camera's pose at every frame.

    Attributes:
        name: Unique, for instance 'train-0'.
        first_seed: Seed of the first frame's sensor noise; the others count on from it.
        world_from_camera: (N, 4, 4), metres, optical frame, at FRAMES_PER_SECOND.
    """

    name: str
    first_seed: int
    world_from_camera: Array


@dataclass(frozen=True)
class Route:
    """A flight as a formula of the angle a, which runs from start to start + 2 pi * rounds.

    Attributes:
        frames: Number of frames.
        rounds: Rounds about the table; negative: clockwise, seen from above.
        start: First angle, radians.
        x: Harmonics of the position, metres.
        y: Harmonics of the position, metres.
        z: Harmonics of the height, metres, about `height`.
        height: Metres.
        facing: Mean gaze relative to the direction from the middle of the room, radians: 0 looks
            outward, pi at the table and across.
        yaw: Harmonics of the gaze about that, radians.
        turns: How often the gaze turns with the angle: 1 keeps facing outward or inward.
        pitch: Harmonics, radians, positive up, about a look of 8 degrees down.
        roll: Harmonics, radians.
    """

    frames: int
    rounds: float
    start: float
    x: Harmonics
    y: Harmonics
    z: Harmonics
    height: float
    facing: float
    yaw: Harmonics
    turns: float = 1.0
    pitch: Harmonics = ()
    roll: Harmonics = ()

    def poses(self) -> Array:
        """World-from-camera of every frame, (frames, 4, 4)."""
        angle = self.start + 2.0 * np.pi * self.rounds * np.arange(self.frames) / self.frames
        position = np.stack(
            [_sum(self.x, angle), _sum(self.y, angle), self.height + _sum(self.z, angle)], axis=-1
        )
        yaw = self.facing + self.turns * angle + _sum(self.yaw, angle)
        pitch = np.radians(-8.0) + _sum(self.pitch, angle)
        poses = np.tile(np.eye(4), (self.frames, 1, 1))
        poses[:, :3, :3] = gaze(yaw, pitch, _sum(self.roll, angle))
        poses[:, :3, 3] = position
        return poses


def _sum(harmonics: Harmonics, angle: Array) -> Array:
    total = np.zeros_like(angle)
    for amplitude, cycles, phase in harmonics:
        total = total + amplitude * np.sin(cycles * angle + phase)
    return total


def gaze(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Rotations world-from-camera of a camera that looks along yaw and pitch.

    Args:
        yaw: About the vertical from the world's x axis, radians, (N,).
        pitch: Upwards, radians, (N,).
        roll: About the line of sight, radians, (N,).

    Returns:
        (N, 3, 3), columns right, down, forward.
    """
    zero = np.zeros_like(yaw)
    forward = np.stack(
        [np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)], axis=-1
    )
    level = np.stack([np.sin(yaw), -np.cos(yaw), zero], axis=-1)
    upright = np.cross(forward, level)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([cos * level + sin * upright, cos * upright - sin * level, forward], axis=-1)


def _rad(degrees: float) -> float:
    return float(np.radians(degrees))


QUARTER = np.pi / 2
TRAINING_ROUTES = (
    # Round the table; the gaze swings far to both sides of the view across the room.
    Route(
        250,
        1.0,
        0.0,
        x=((1.58, 1, QUARTER),),
        y=((1.18, 1, 0.0),),
        z=((0.18, 3, 0.7),),
        height=1.38,
        facing=_rad(192),
        yaw=((_rad(72), 5, 5.5),),
        pitch=((_rad(7), 5, 0.0),),
        roll=((_rad(4), 3, 1.0),),
    ),
    # The other way round.
    Route(
        250,
        -1.0,
        0.8,
        x=((1.68, 1, QUARTER),),
        y=((1.14, 1, 0.0),),
        z=((0.11, 2, 3.9),),
        height=1.3,
        facing=_rad(184),
        yaw=((_rad(74), 5, 4.2),),
        pitch=((_rad(8), 4, 1.0),),
        roll=((_rad(5), 2, 0.0),),
    ),
    # Nearer to the furniture, more along the path.
    Route(
        250,
        1.0,
        2.0,
        x=((1.69, 1, QUARTER),),
        y=((1.25, 1, 0.0),),
        z=((0.13, 3, 4.6),),
        height=1.32,
        facing=_rad(202),
        yaw=((_rad(75), 5, 1.4),),
        pitch=((_rad(7), 3, 0.5),),
        roll=((_rad(4), 5, 0.0),),
    ),
    # Across the table, above it, while the gaze turns.
    Route(
        250,
        1.0,
        0.4,
        x=((1.5, 1, 0.0),),
        y=((0.85, 2, 0.0),),
        z=((0.12, 3, 0.0),),
        height=1.55,
        facing=_rad(166),
        yaw=((_rad(52), 5, 4.8),),
        turns=2.0,
        pitch=((_rad(7), 3, 0.0),),
        roll=((_rad(4), 4, 0.0),),
    ),
    # High on one side of the room, low on the other.
    Route(
        250,
        -1.0,
        3.0,
        x=((1.68, 1, QUARTER),),
        y=((1.18, 1, 0.0),),
        z=((0.21, 2, 5.6),),
        height=1.28,
        facing=_rad(148),
        yaw=((_rad(68), 5, 1.2),),
        pitch=((_rad(7), 4, 0.0),),
        roll=((_rad(4), 3, 0.0),),
    ),
)
TEST_ROUTE = Route(
    300,
    -1.0,
    0.3,
    x=((1.7, 1, QUARTER), (0.05, 3, 0.5)),
    y=((1.26, 1, 0.0), (0.05, 2, 0.0)),
    z=((0.1, 3, 0.6), (0.03, 8, 0.0)),
    height=1.36,
    facing=_rad(-150),
    yaw=((_rad(22), 2, 1.0), (_rad(6), 7, 0.0)),
    pitch=((_rad(5), 3, 2.0), (_rad(1), 11, 0.0)),
    roll=((_rad(3), 4, 0.7),),
)


def training_flights() -> list[Flight]:
    """The flights to train on."""
    return [
        Flight(f'train-{index}', 10_000 * (index + 1), route.poses())
        for index, route in enumerate(TRAINING_ROUTES)
    ]


def test_flight() -> Flight:
    """The flight to test on: 30 s at the pace of a slow walk, between the training flights."""
    return Flight('test', 0, TEST_ROUTE.poses())
