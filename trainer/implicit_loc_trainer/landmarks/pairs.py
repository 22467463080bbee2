"""Which frames to match: they look at the same part of the scene from places apart."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_PARTNERS = 12
# Every so many of the nearest frames becomes a partner: neighbours, and frames farther off.
_EVERY = 5
# Features of that much turned views are rarely matched.
_LARGEST_ANGLE_DEG = 40.0
# Less parallax says nothing about the depth.
_LEAST_PARALLAX_DEG = 1.0
# A degree of parallax changes what is seen more than a degree of turning, which only shifts it.
_PARALLAX_COST = 2.0


def overlapping_pairs(
    world_from_camera: FloatArray, typical_depth: float
) -> list[tuple[int, int]]:
    """Pairs of frames, each with the smaller index first, sorted.

    Args:
        world_from_camera: of all frames, (N, 4, 4).
        typical_depth: of the scene, metres; it makes parallax of distances.
    """
    positions, rotations = world_from_camera[:, :3, 3], world_from_camera[:, :3, :3]
    pairs: set[tuple[int, int]] = set()
    for frame in range(len(world_from_camera)):
        # trace(R1^T R2) is the sum of the products of their entries.
        traces = np.einsum('nij,ij->n', rotations, rotations[frame])
        turning = np.degrees(np.arccos(np.clip((traces - 1) / 2, -1, 1)))
        distances = np.linalg.norm(positions - positions[frame], axis=1)
        parallax = np.degrees(np.arctan2(distances, typical_depth))
        usable = (turning < _LARGEST_ANGLE_DEG) & (parallax > _LEAST_PARALLAX_DEG)
        candidates = np.flatnonzero(usable)
        cost = _PARALLAX_COST * parallax[candidates] + turning[candidates]
        nearest = candidates[np.argsort(cost, kind='stable')][: _PARTNERS * _EVERY : _EVERY]
        pairs.update((min(frame, other), max(frame, other)) for other in nearest.tolist())
    return sorted(pairs)
