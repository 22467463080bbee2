"""Where the camera has been, where it looked, and how near the test frames are to that."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.check.motion import Steps, angles_between

FloatArray = NDArray[np.float64]

SECTORS = 12


@dataclass(frozen=True)
class Coverage:
    """Positions in the unit of the poses, metres if they are right.

    Attributes:
        extent: (3,) of the camera positions along the world's axes.
        path: length of the way.
        seconds: from the first to the last frame of the longest split.
        sectors: (SECTORS,) frames by the direction of sight about the camera's mean vertical.
        spacing: median distance from a frame to the nearest other one that looks the same way,
            within 30 degrees; NaN without any.
        test_distances: (T,) from test frames to the training frame whose view is nearest.
        test_angles: (T,) radians, to the same frame.
    """

    extent: FloatArray
    path: float
    seconds: float
    sectors: NDArray[np.intp]
    spacing: float
    test_distances: FloatArray
    test_angles: FloatArray


def coverage_of(
    world_from_camera: FloatArray,
    timestamps: FloatArray,
    split: NDArray[np.intp],
    steps: Steps,
    typical_depth: float,
) -> Coverage:
    """Describes a recording.

    Args:
        world_from_camera: (N, 4, 4).
        timestamps: (N,) seconds.
        split: (N,), 0 = training frames; others are test frames.
        steps: of the poses.
        typical_depth: what distance shifts a view as much as an angle of one radian turns it.
    """
    training, test = world_from_camera[split == 0], world_from_camera[split != 0]
    positions = world_from_camera[:, :3, 3]
    distances, angles = _nearest_views(test, training, typical_depth)
    return Coverage(
        extent=np.ptp(positions, axis=0),
        path=float(steps.distance[steps.leap <= 1.0].sum()),
        seconds=max(float(np.ptp(timestamps[split == one])) for one in np.unique(split)),
        sectors=_sectors(world_from_camera),
        spacing=_spacing(training),
        test_distances=distances,
        test_angles=angles,
    )


def _sectors(world_from_camera: FloatArray) -> NDArray[np.intp]:
    """Frames by direction of sight about the mean of the cameras' vertical axes."""
    down = world_from_camera[:, :3, 1].mean(axis=0)
    length = float(np.linalg.norm(down))
    down = down / length if length > 1e-6 else np.array([0.0, 0.0, -1.0])
    across = np.cross(down, np.eye(3)[np.abs(down).argmin()])
    across /= np.linalg.norm(across)
    forward = world_from_camera[:, :3, 2]
    azimuth = np.arctan2(forward @ np.cross(down, across), forward @ across)
    sector = np.floor((azimuth + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    return np.bincount(sector, minlength=SECTORS)


def _spacing(poses: FloatArray) -> float:
    nearest = []
    for index, pose in enumerate(poses):
        alike = poses[:, :3, 2] @ pose[:3, 2] > np.cos(np.radians(30.0))
        alike[index] = False
        if alike.any():
            away = np.linalg.norm(poses[alike, :3, 3] - pose[:3, 3], axis=1)
            nearest.append(float(away.min()))
    return float(np.median(nearest)) if nearest else float('nan')


def _nearest_views(
    poses: FloatArray, others: FloatArray, typical_depth: float
) -> tuple[FloatArray, FloatArray]:
    """Distance and angle to the pose that is nearest jointly in position and angle."""
    distances, angles = np.empty(len(poses)), np.empty(len(poses))
    for index, pose in enumerate(poses):
        away = np.linalg.norm(others[:, :3, 3] - pose[:3, 3], axis=1)
        turned = angles_between(others[:, :3, :3], pose[None, :3, :3])
        nearest = int((away / typical_depth + turned).argmin())
        distances[index], angles[index] = away[nearest], turned[nearest]
    return distances, angles
