"""The last centimetres: landmarks are found in the image, and the pose is refined on them.

From a pose that is right within a few degrees, every landmark that should be in sight is looked
for near where it should be: the place whose descriptor is most like its own (compare PixLoc,
Sarlin et al. 2021, which descends on such features, and PTAM, Klein and Murray 2007, which
searches patches). The robust refinement does the rest, as it does for the network's cells: most
wrong places are far from where the others put their landmark.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.camera import Camera
from implicit_loc.cells import Cells
from implicit_loc.consensus import consensus
from implicit_loc.landmark_map import DESCRIPTOR_STRIDES
from implicit_loc.refinement import RefinementOptions, refine

FloatArray = NDArray[np.float64]

STRIDE = DESCRIPTOR_STRIDES[0]


class _Search(NamedTuple):
    """How landmarks are looked for.

    Attributes:
        reach: half the side of the windows, in descriptor cells of STRIDE pixels.
        most: landmarks that are looked for, at most.
    """

    reach: int
    most: int


# The first covers what a first pose is usually wrong by; where it finds little, the second goes
# three times as far, which costs several times as much. Nearer to the truth, smaller windows
# exclude more wrong places, other landmarks are in sight, and more of them cost no more.
_WIDE_SEARCH, _WIDEST_SEARCH = _Search(6, 200), _Search(16, 200)
_CLOSER_SEARCHES = (_Search(4, 200), _Search(2, 800))

# A landmark looks like itself from about where it was seen: within this angle of the mean
# direction, and this factor of the mean distance.
_WIDEST_ANGLE_COSINE = 0.7
_LARGEST_RATIO = 1.7
_LEAST_DEPTH_M = 0.2

# A landmark agrees with a pose that sees it where the wide search found it: within 3 px of a
# 320 px image of 263 px focal length. By chance one in seventy does.
AGREEMENT_TANGENT = 3.0 / 263.0

# Of all landmarks that were looked for: with less, a farther search is worth its time.
_CLEAR_SHARE = 0.15

# What chance alone does not bring.
_FEWEST_AGREEING = 12
_LEAST_AGREEING_SHARE = 0.1

# Landmarks have a place in the image, and no depth of their own.
LANDMARK_COST = RefinementOptions(use_depth=False, weight_exponent=0.0)


@dataclass(frozen=True)
class Landmarks:
    """The landmarks of a map on the host, in float64.

    Attributes:
        positions: in the world, (L, 3), metres.
        descriptors: (L, C) float32.
        directions: (L, 3), unit.
        distances: (L,), metres.
    """

    positions: FloatArray
    descriptors: Tensor
    directions: FloatArray
    distances: FloatArray


@dataclass(frozen=True)
class Sight:
    """What is needed to find landmarks in an image.

    Attributes:
        landmarks: of the map.
        descriptors: of the image at STRIDE, (h, w, C) float32.
        camera: of the network's input.
        ignored: places where nothing may be found, (h, w); None for none.
    """

    landmarks: Landmarks
    descriptors: Tensor
    camera: Camera
    ignored: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class LandmarkPose:
    """A pose that landmarks gave.

    Attributes:
        world_from_camera: (1, 4, 4), metres.
        cells: one for each landmark that was looked for: its world point, and the ray on which
            it was found.
        agreeing: how many of those that the wide search found agree with the pose.
        share: of all that were looked for.
    """

    world_from_camera: Tensor
    cells: Cells
    agreeing: int
    share: float

    @property
    def is_found(self) -> bool:
        """Whether more landmarks agree than chance would bring."""
        return self.agreeing >= _FEWEST_AGREEING and self.share >= _LEAST_AGREEING_SHARE


def align_to_landmarks(sight: Sight, start: Tensor) -> LandmarkPose | None:
    """Refine the pose of one image on the landmarks in it.

    Args:
        sight: of the image.
        start: world_from_camera, (1, 4, 4), float64 on the host, finite.

    Returns:
        The pose, or None where fewer landmarks than three should be in sight.
    """
    found = _look(sight, start, _WIDE_SEARCH)
    if found is None:
        return None
    near = _closer(sight, refine(start, found, LANDMARK_COST).world_from_camera, found)
    if near.share >= _CLEAR_SHARE:
        return near
    found = _look(sight, start, _WIDEST_SEARCH)
    if found is None or int((found.weights > 0).sum()) < 3:
        return near
    # Most places are wrong now, too many for a refinement to see which.
    far = _closer(sight, consensus(found), found)
    return far if far.agreeing > near.agreeing else near


def _closer(sight: Sight, pose: Tensor, found: Cells) -> LandmarkPose:
    """The pose to which closer searches lead, judged by what a first one found."""
    closest = found
    for search in _CLOSER_SEARCHES:
        closer = _look(sight, pose, search)
        if closer is None:
            break
        closest = closer
        pose = refine(pose, closest, LANDMARK_COST).world_from_camera
    agrees = _agrees(pose, found)
    return LandmarkPose(pose, closest, int(agrees.sum()), float(agrees.double().mean()))


def _agrees(world_from_camera: Tensor, cells: Cells) -> Tensor:
    """Which landmarks of one image a pose sees on their rays, (N,) bool."""
    pose = world_from_camera[0]
    seen = (cells.world_points[0] - pose[:3, 3]) @ pose[:3, :3]
    in_front = seen[:, 2] > _LEAST_DEPTH_M
    tangents = seen[:, :2] / torch.where(in_front, seen[:, 2], 1)[:, None]
    near = (tangents - cells.rays[0, :, :2]).norm(dim=-1) < AGREEMENT_TANGENT
    return near & in_front & (cells.weights[0] > 0)


def _look(sight: Sight, world_from_camera: Tensor, search: _Search) -> Cells | None:
    """The landmarks that a pose should see, each with the ray on which it was found."""
    reach = search.reach
    chosen, seen = _in_sight(sight, world_from_camera[0].numpy(), search.most)
    if len(chosen) < 3:
        return None
    rows, columns = sight.descriptors.shape[:2]
    cell = (sight.camera.project(seen) + 0.5) / STRIDE - 0.5
    centre = np.rint(cell).astype(np.intp)
    offsets = np.arange(-reach, reach + 1)
    row = centre[:, 1, None, None] + offsets[:, None]
    column = centre[:, 0, None, None] + offsets
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    place = np.clip(row, 0, rows - 1) * columns + np.clip(column, 0, columns - 1)
    if sight.ignored is not None:
        inside &= ~sight.ignored.reshape(-1)[place]
    windows = sight.descriptors.reshape(rows * columns, -1)[torch.from_numpy(place).flatten(1)]
    own = sight.landmarks.descriptors[torch.from_numpy(chosen)]
    likeness = torch.bmm(windows, own[..., None])[..., 0].numpy().astype(np.float64)
    peak, is_inner = _peaks(np.where(inside, likeness.reshape(place.shape), -np.inf))
    pixels = (centre + peak - reach + 0.5) * STRIDE - 0.5
    rays = sight.camera.unproject(pixels)
    usable = is_inner & np.isfinite(rays).all(axis=-1)
    rays[~usable] = (0.0, 0.0, 1.0)
    return Cells(
        torch.from_numpy(sight.landmarks.positions[chosen])[None],
        torch.from_numpy(rays * seen[:, 2:])[None],
        torch.from_numpy(rays)[None],
        torch.from_numpy(usable.astype(np.float64))[None],
        torch.tensor([sight.camera.focal_length], dtype=torch.float64),
    )


def _in_sight(
    sight: Sight, world_from_camera: FloatArray, most: int
) -> tuple[NDArray[np.intp], FloatArray]:
    """Which landmarks a camera should see, `most` of them, and where in its frame (N, 3)."""
    landmarks, camera = sight.landmarks, sight.camera
    to_camera = world_from_camera[:3, 3] - landmarks.positions
    distances = np.linalg.norm(to_camera, axis=-1)
    cosines = (to_camera * landmarks.directions).sum(axis=-1) / np.maximum(distances, 1e-9)
    ratios = distances / landmarks.distances
    seen = -to_camera @ world_from_camera[:3, :3]
    likely = (
        (seen[:, 2] > _LEAST_DEPTH_M)
        & (cosines > _WIDEST_ANGLE_COSINE)
        & (ratios < _LARGEST_RATIO)
        & (ratios > 1 / _LARGEST_RATIO)
    )
    candidates = np.flatnonzero(likely)
    pixels = camera.project(seen[candidates])
    limits = (camera.width - STRIDE, camera.height - STRIDE)
    inside = ((pixels > STRIDE) & (pixels < limits)).all(axis=-1)
    chosen = candidates[inside][:most]
    return chosen, seen[chosen]


def _peaks(likeness: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Where windows (N, k, k) have their largest value, and whether it lies inside.

    Returns:
        Column and row (N, 2), to a fraction by the parabola through the neighbours, and which of
        them are no larger than a value outside of the window might be: (N,).
    """
    count, size = likeness.shape[:2]
    row, column = np.unravel_index(likeness.reshape(count, -1).argmax(axis=1), (size, size))
    is_inner = (row > 0) & (row < size - 1) & (column > 0) & (column < size - 1)
    inner_row, inner_column = (np.clip(index, 1, size - 2) for index in (row, column))
    all_windows = np.arange(count)

    def fraction(row_step: int, column_step: int) -> FloatArray:
        before, middle, after = (
            likeness[all_windows, inner_row + k * row_step, inner_column + k * column_step]
            for k in (-1, 0, 1)
        )
        finite = np.isfinite(before) & np.isfinite(middle) & np.isfinite(after)
        before, middle, after = (np.where(finite, part, 0) for part in (before, middle, after))
        curvature = before - 2 * middle + after
        curved = curvature < -1e-6
        shift = 0.5 * (before - after) / np.where(curved, curvature, 1)
        return np.asarray(np.where(curved, np.clip(shift, -0.5, 0.5), 0))

    peak = np.stack([column + fraction(0, 1), row + fraction(1, 0)], axis=-1)
    return peak, np.asarray(is_inner)
