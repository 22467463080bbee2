"""Where in an image its landmarks are, near where a pose says that they should be.

A landmark is looked for in a window about its projection: at the place whose descriptor is most
like its own. Where that is known to a fraction of a descriptor cell, so is the ray to it.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.cells import FEWEST_CELLS, Cells
from implicit_loc.landmark_map import DESCRIPTOR_STRIDES

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]

STRIDE = DESCRIPTOR_STRIDES[0]

# Nearer to the camera plane, a point has no pixel.
LEAST_DEPTH_M = 0.2

# A landmark looks like itself from about where it was seen: within this angle of the mean
# direction, and this factor of the mean distance.
WIDEST_ANGLE_COSINE = 0.7
LARGEST_RATIO = 1.7

# What changes less from place to place has no peak, of likenesses up to 2.
LEAST_CURVATURE = 1e-6

# Of thousands of landmarks hundreds are looked for: so many are tried at once, until that is met.
_TRIED_AT_ONCE = 1000


class Search(NamedTuple):
    """How landmarks are looked for.

    Attributes:
        reach: half the side of the windows, in descriptor cells of STRIDE pixels.
        most: landmarks that are looked for, at most.
    """

    reach: int
    most: int


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of a map on the host.

    Attributes:
        positions: in the world, (L, 3), metres.
        descriptors: (L, C).
        directions: from which they were seen, (L, 3), unit.
        distances: from which they were seen, (L,), metres.
    """

    positions: FloatArray
    descriptors: SingleArray
    directions: FloatArray
    distances: FloatArray

    @cached_property
    def rows(self) -> FloatArray:
        """Positions, directions and distances, (7, L): a row per coordinate."""
        return np.vstack([self.positions.T, self.directions.T, self.distances])


@dataclass(frozen=True)
class Sight:
    """What is needed to find landmarks in an image.

    Attributes:
        landmarks: of the map.
        descriptors: of the image at STRIDE, (h, w, C).
        camera: of the network's input.
        ignored: places where nothing may be found, (h, w); None for none.
    """

    landmarks: Landmarks
    descriptors: SingleArray
    camera: Camera
    ignored: NDArray[np.bool_] | None = None

    @cached_property
    def places(self) -> SingleArray:
        """The descriptors row by row, (h * w, C), each in one piece of memory."""
        return np.ascontiguousarray(self.descriptors).reshape(-1, self.descriptors.shape[-1])


def look_for(sight: Sight, world_from_camera: FloatArray, search: Search) -> Cells | None:
    """The landmarks that a pose (4, 4) should see, each with the ray on which it was found.

    Returns:
        Cells of one image; a landmark that was not found, or may be nearer to a place outside of
        its window, has weight zero. The camera point is where on the found ray the landmark would
        be at the depth that the pose expects. None where less than three should be in sight.
    """
    landmarks, camera = sight.landmarks, sight.camera
    chosen, seen, pixels = _in_sight(landmarks, camera, world_from_camera, search.most)
    if len(chosen) < FEWEST_CELLS:
        return None
    expected = np.rint((pixels + 0.5) / STRIDE - 0.5).astype(np.int32)
    likeness, first = _likeness(sight, landmarks.descriptors[chosen], expected, search.reach)
    peak, is_found = _peaks(likeness)
    rays = camera.unproject((first + peak + 0.5) * STRIDE - 0.5)
    is_found &= np.isfinite(rays[:, 0] + rays[:, 1])
    rays = np.where(is_found[:, None], rays, (0.0, 0.0, 1.0))

    def batched(array: FloatArray) -> torch.Tensor:
        return torch.from_numpy(array[None])

    return Cells(
        batched(landmarks.positions[chosen]),
        batched(rays * seen[:, 2:]),
        batched(rays),
        batched(is_found.astype(np.float64)),
        torch.from_numpy(np.array([camera.focal_length])),
    )


def _in_sight(
    landmarks: Landmarks, camera: Camera, world_from_camera: FloatArray, most: int
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Which landmarks a camera should see, the first `most` of them.

    Returns:
        Their indices (N,), where they are in the camera's frame (N, 3), and their pixels (N, 2).
    """
    parts: list[tuple[NDArray[np.intp], FloatArray, FloatArray]] = []
    found = 0
    for first in range(0, max(1, len(landmarks.positions)), _TRIED_AT_ONCE):
        tried = slice(first, first + _TRIED_AT_ONCE)
        inside, seen, pixels = _in_sight_of(landmarks, tried, camera, world_from_camera)
        parts.append((inside + first, seen, pixels))
        found += len(inside)
        if found >= most:
            break
    indices, points, places = zip(*parts, strict=True)
    return (
        np.concatenate(indices)[:most],
        np.concatenate(points)[:most],
        np.concatenate(places)[:most],
    )


def _in_sight_of(
    landmarks: Landmarks, tried: slice, camera: Camera, world_from_camera: FloatArray
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """As `_in_sight`, all of some landmarks; indices within these."""
    rows = landmarks.rows[:, tried]
    offsets, known_from = rows[:3] - world_from_camera[:3, 3:], rows[6]
    seen = world_from_camera[:3, :3].T @ offsets
    depth = seen[2]
    squares = seen * seen
    across = squares[0] + squares[1]
    distances = np.sqrt(across + squares[2])
    towards_camera = -np.einsum('in,in->n', offsets, rows[3:6])
    in_sight = (
        (depth > LEAST_DEPTH_M)
        # Beyond its field of view, a distortion model may fold the world back into the image.
        & (across < (widest_tangent(camera) * depth) ** 2)
        & (towards_camera > WIDEST_ANGLE_COSINE * distances)
        & (distances < LARGEST_RATIO * known_from)
        & (known_from < LARGEST_RATIO * distances)
    )
    candidates = np.flatnonzero(in_sight)
    seen = seen[:, candidates].T
    pixels = camera.project(seen)
    limits = (camera.width - STRIDE, camera.height - STRIDE)
    inside = ((pixels > STRIDE) & (pixels < limits)).all(axis=-1)
    return candidates[inside], seen[inside], pixels[inside]


@lru_cache(maxsize=16)
def widest_tangent(camera: Camera) -> float:
    """Of the angles between the optical axis and the rays of a camera, the largest one's."""
    rays = camera.rays(STRIDE)
    return float(np.nan_to_num(np.hypot(rays[..., 0], rays[..., 1])).max())


def _likeness(
    sight: Sight, own: SingleArray, expected: NDArray[np.int32], reach: int
) -> tuple[SingleArray, NDArray[np.int32]]:
    """How like landmarks are to the places about where they should be.

    Windows that would leave the image lie at its border, and hold nothing farther than the reach.

    Args:
        sight: of the image.
        own: descriptors of the landmarks, (N, C).
        expected: column and row of the places, within the image, (N, 2).
        reach: how far the windows go from there, in places.

    Returns:
        Products of descriptors, (N, rows, columns) of the windows; -inf where nothing may be
        found, or they are not finite. And the first column and row of the windows, (N, 2).
    """
    rows, columns = sight.descriptors.shape[:2]
    high, wide = min(2 * reach + 1, rows), min(2 * reach + 1, columns)
    last = np.array([columns - wide, rows - high], np.int32)
    first = np.maximum(np.minimum(expected - reach, last), 0)
    down, across = np.arange(high, dtype=np.int32), np.arange(wide, dtype=np.int32)
    window = (down[:, None] * columns + across).reshape(-1)
    places = (first[:, 1] * columns + first[:, 0])[:, None] + window
    likeness = _products(own, sight.places, places)
    beside = first - expected
    near_row = abs(beside[:, 1:] + down) <= reach
    near_column = abs(beside[:, :1] + across) <= reach
    free = (near_row[:, :, None] & near_column[:, None]).reshape(likeness.shape)
    if sight.ignored is not None:
        free &= ~sight.ignored.reshape(-1)[places]
    free &= np.isfinite(likeness)
    np.copyto(likeness, -np.inf, where=~free)
    return likeness.reshape(-1, high, wide), first


def _products(first: SingleArray, second: SingleArray, chosen: NDArray[np.int32]) -> SingleArray:
    """Inner products of each row (N, C) with chosen ones (N, K) of other rows (P, C), (N, K).

    A sparse product reads the rows where they lie; to gather them takes five times as long.
    """
    count, each = chosen.shape
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta state')
        pattern = torch.sparse_csr_tensor(
            torch.arange(0, chosen.size + 1, each, dtype=torch.int32),
            torch.from_numpy(chosen.reshape(-1)),
            torch.zeros(chosen.size),
            (count, len(second)),
            check_invariants=False,
        )
    columns = torch.from_numpy(second).t()
    products = torch.sparse.sampled_addmm(pattern, torch.from_numpy(first), columns)
    return products.values().numpy().reshape(chosen.shape)


def _peaks(likeness: SingleArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where windows (N, rows, columns) have their largest value.

    Returns:
        Column and row (N, 2), to a fraction by the parabolas through the neighbours; and whether
        there are neighbours, (N,): at the edge of a window a place beyond it may be more like
        the landmark.
    """
    count, high, wide = likeness.shape
    best = likeness.reshape(count, -1).argmax(axis=1)
    row, column = np.divmod(best, wide)
    is_inner = (row > 0) & (row < high - 1) & (column > 0) & (column < wide - 1)
    # The middle, left and above of it, right and below of it; of a peak at an edge, any places.
    beside = np.arange(count)[:, None] * high * wide + np.array([0, -1, -wide, 1, wide])
    near = likeness.take(best[:, None] + beside, mode='clip')
    is_found = is_inner & np.isfinite(near).all(axis=1)
    near = np.where(is_found[:, None], near, 0).astype(np.float64)
    before, after = near[:, 1:3], near[:, 3:]
    curvature = before - 2 * near[:, :1] + after
    peaked = curvature < -LEAST_CURVATURE
    fraction = (before - after) / np.where(peaked, 2 * curvature, np.inf)
    return np.stack([column, row], axis=-1) + fraction, is_found
