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

# The windows of most searches go no farther; those of landmarks at the border go beyond it.
_USUAL_REACH = 6

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

    def padded(self, reach: int) -> tuple[SingleArray, NDArray[np.bool_]]:
        """Descriptors, and where something may be found, with a border of zeros.

        Args:
            reach: least width of the border.

        Returns:
            (h + 2 border, w + 2 border, C), and the same without C.
        """
        return self._usually_padded if reach <= _USUAL_REACH else self._with_border(reach)

    @cached_property
    def _usually_padded(self) -> tuple[SingleArray, NDArray[np.bool_]]:
        return self._with_border(_USUAL_REACH)

    def _with_border(self, width: int) -> tuple[SingleArray, NDArray[np.bool_]]:
        border = (width, width)
        free = np.ones(self.descriptors.shape[:2], bool) if self.ignored is None else ~self.ignored
        return np.pad(self.descriptors, (border, border, (0, 0))), np.pad(free, border)


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
    expected = np.rint((pixels + 0.5) / STRIDE - 0.5).astype(np.intp)
    likeness = _likeness(sight, landmarks.descriptors[chosen], expected, search.reach)
    peak, is_found = _peaks(likeness)
    rays = camera.unproject((expected - search.reach + peak + 0.5) * STRIDE - 0.5)
    is_found &= np.isfinite(rays).all(axis=-1)
    rays[~is_found] = (0.0, 0.0, 1.0)
    return Cells(
        torch.from_numpy(landmarks.positions[chosen])[None],
        torch.from_numpy(rays * seen[:, 2:])[None],
        torch.from_numpy(rays)[None],
        torch.from_numpy(is_found.astype(np.float64))[None],
        torch.tensor([camera.focal_length], dtype=torch.float64),
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
    offsets = landmarks.positions[tried] - world_from_camera[:3, 3]
    seen = offsets @ world_from_camera[:3, :3]
    x, y, depth = seen.T
    # Beyond its field of view, a distortion model may fold the world back into the image.
    in_front = (depth > LEAST_DEPTH_M) & (np.hypot(x, y) < widest_tangent(camera) * depth)
    candidates = np.flatnonzero(in_front)
    offsets, known_from = offsets[candidates], landmarks.distances[tried][candidates]
    distances = np.linalg.norm(offsets, axis=-1)
    towards_camera = -np.einsum('ij,ij->i', offsets, landmarks.directions[tried][candidates])
    like_itself = (
        (towards_camera > WIDEST_ANGLE_COSINE * distances)
        & (distances < LARGEST_RATIO * known_from)
        & (known_from < LARGEST_RATIO * distances)
    )
    candidates = candidates[like_itself]
    seen = seen[candidates]
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
    sight: Sight, own: SingleArray, expected: NDArray[np.intp], reach: int
) -> SingleArray:
    """How like landmarks are to the places about where they should be.

    Args:
        sight: of the image.
        own: descriptors of the landmarks, (N, C).
        expected: column and row of the windows' centres, within the image, (N, 2).
        reach: half the side k = 2 reach + 1 of the windows.

    Returns:
        Products of descriptors, (N, k, k); -inf where nothing may be found, or they are not
        finite.
    """
    side = 2 * reach + 1
    padded, free = sight.padded(reach)
    width = padded.shape[1]
    border = (width - sight.descriptors.shape[1]) // 2
    first = (expected[:, 1] + border - reach) * width + expected[:, 0] + border - reach
    window = np.arange(side)[:, None] * width + np.arange(side)
    places = first[:, None] + window.reshape(-1)
    likeness = _products(own, padded.reshape(-1, own.shape[1]), places)
    likeness[~(free.reshape(-1)[places] & np.isfinite(likeness))] = -np.inf
    return likeness.reshape(-1, side, side)


def _products(first: SingleArray, second: SingleArray, chosen: NDArray[np.intp]) -> SingleArray:
    """Inner products of each row (N, C) with chosen ones (N, K) of other rows (P, C), (N, K).

    A sparse product reads the rows where they lie; to gather them takes five times as long.
    """
    count, each = chosen.shape
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta state')
        pattern = torch.sparse_csr_tensor(
            torch.arange(0, count * each + 1, each),
            torch.from_numpy(chosen.reshape(-1)),
            torch.zeros(count * each),
            (count, len(second)),
            check_invariants=False,
        )
    columns = torch.from_numpy(second).t()
    products = torch.sparse.sampled_addmm(pattern, torch.from_numpy(first), columns)
    return products.values().numpy().reshape(count, each)


def _peaks(likeness: SingleArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where windows (N, k, k) have their largest value.

    Returns:
        Column and row (N, 2), to a fraction by the parabolas through the neighbours; and whether
        there are neighbours, (N,): at the edge of a window a place beyond it may be more like
        the landmark.
    """
    count, side = likeness.shape[:2]
    flat = likeness.reshape(count, -1)
    best = flat.argmax(axis=1)
    row, column = np.divmod(best, side)
    is_inner = (np.minimum(row, column) > 0) & (np.maximum(row, column) < side - 1)
    steps = np.array([0, -1, 1, -side, side])
    near = flat[np.arange(count)[:, None], np.where(is_inner, best, side + 1)[:, None] + steps]
    is_found = is_inner & np.isfinite(near).all(axis=1)
    near = np.where(is_found[:, None], near, 0).astype(np.float64)
    middle, left, right, above, below = near.T

    def fraction(before: FloatArray, after: FloatArray) -> FloatArray:
        curvature = before - 2 * middle + after
        peaked = curvature < -LEAST_CURVATURE
        return np.asarray((before - after) / np.where(peaked, 2 * curvature, np.inf))

    peak = np.stack([column + fraction(left, right), row + fraction(above, below)], axis=-1)
    return peak, np.asarray(is_found)
