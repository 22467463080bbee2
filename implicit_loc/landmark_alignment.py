"""The last centimetres: landmarks are found in the image, and the pose is refined on them.

From a pose that is right within a few degrees, every landmark that should be in sight is looked
for near where it should be: the place whose descriptor is most like its own (compare PixLoc,
Sarlin et al. 2021, which descends on such features, and PTAM, Klein and Murray 2007, which
searches patches). The robust refinement does the rest, as it does for the network's cells: most
wrong places are far from where the others put their landmark.
"""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from implicit_loc.arrays import Array, lightest, namespace, to_numpy, to_torch, unwarned
from implicit_loc.cells import FEWEST_CELLS, Cells
from implicit_loc.consensus import consensus
from implicit_loc.landmark_search import LEAST_DEPTH_M, Search, Sight, look_for
from implicit_loc.refinement import RefinementOptions, refine

# Covers what a first pose is usually wrong by; where it finds little, the widest search goes three
# times as far, which costs several times as much.
WIDE_SEARCH, _WIDEST_SEARCH = Search(6, 200), Search(16, 200)
# Nearer to the truth, smaller windows exclude more wrong places, other landmarks are in sight, and
# more of them cost no more.
CLOSER_SEARCHES = (Search(4, 200), Search(2, 800))

# A pose by which the landmarks of one band of the image agree may turn about that band: repeated,
# the wide search finds the others, too. Most poses need one or two.
_MOST_WIDE_SEARCHES = 5

# A landmark agrees with a pose that sees it where a wide search found it: within 3 px of a 320 px
# image of 263 px focal length. By chance one in seventy does.
AGREEMENT_TANGENT = 3.0 / 263.0

# Of all landmarks that were looked for: with less, a farther search is worth its time.
CLEAR_SHARE = 0.15

# With fewer, the image is blurred, dark, half hidden or taken from where the map was not: those
# that are found are then wrong together, by more than they differ from each other.
_USUAL_SHARE = 0.5

# What chance alone does not bring, and of how many at least: images of other places, of noise and
# upside down came to 0.08, frames of redkitchen to 0.18 or more.
LEAST_AGREEING_SHARE = 0.12
FEWEST_LOOKED_FOR = 100

# Landmarks have a place in the image, and no depth of their own.
LANDMARK_COST = RefinementOptions(use_depth=False, weight_exponent=0.0)


@dataclass(frozen=True)
class LandmarkPose:
    """A pose that landmarks gave.

    Attributes:
        world_from_camera: (1, 4, 4), metres.
        cells: one for each landmark that was looked for: its world point, and the ray on which
            it was found.
        agreeing: how many landmarks a wide search from this pose finds where the pose sees them.
        share: of all that this search looked for, or of 100 where those are fewer: of a handful,
            chance brings any share.
    """

    world_from_camera: Tensor
    cells: Cells
    agreeing: int
    share: float

    @property
    def is_found(self) -> bool:
        """Whether more landmarks agree than chance would bring."""
        return self.share >= LEAST_AGREEING_SHARE

    @property
    def is_clear(self) -> bool:
        """Whether so many agree that a farther search would hardly find more."""
        return self.share >= CLEAR_SHARE

    @property
    def doubt(self) -> float:
        """How many times worse the pose is than the differences of the landmarks tell."""
        return doubt_of(self.share)


def doubt_of(share: float) -> float:
    """As `LandmarkPose.doubt`, of a share of agreeing landmarks."""
    return max(1.0, _USUAL_SHARE / max(share, LEAST_AGREEING_SHARE))


def align_to_landmarks(sight: Sight, start: Tensor) -> LandmarkPose | None:
    """Refine the pose of one image on the landmarks in it.

    Args:
        sight: of the image.
        start: world_from_camera, (1, 4, 4), float64 on the host, finite.

    Returns:
        The pose, or None where fewer landmarks than three should be in sight.
    """
    near = align_nearby(sight, start)
    if near is not None and near.is_clear:
        return near
    found = _look(sight, start, _WIDEST_SEARCH)
    if found is None or int((found.weights > 0).sum()) < FEWEST_CELLS:
        return near
    # Most places are wrong now, too many for a refinement to see which.
    return better(near, align_nearby(sight, consensus(found)))


def better(first: LandmarkPose | None, second: LandmarkPose | None) -> LandmarkPose | None:
    """That with which more landmarks agree; the first one of equals."""
    if first is None or second is None:
        return first or second
    return second if second.agreeing > first.agreeing else first


def align_nearby(sight: Sight, pose: Tensor) -> LandmarkPose | None:
    """As `align_to_landmarks`, from a pose that is right within a few degrees.

    The pose is that to which wide and then closer searches lead; None where they leave the map.
    """
    for _ in range(_MOST_WIDE_SEARCHES):
        wide = _look(sight, pose, WIDE_SEARCH)
        if wide is None:
            return None
        last, pose = pose, refine(pose, wide, LANDMARK_COST).world_from_camera
        if _hardly_moved(last, pose, wide):
            break
    for search in CLOSER_SEARCHES:
        closer = _look(sight, pose, search)
        if closer is None:
            return None
        closest, pose = closer, refine(pose, closer, LANDMARK_COST).world_from_camera
    judged = sighting(sight, pose)
    if judged is None:
        return None
    _, agrees = judged
    agreeing = np.count_nonzero(to_numpy(agrees))
    return LandmarkPose(pose, closest, agreeing, agreeing / max(len(agrees), FEWEST_LOOKED_FOR))


def sighting(sight: Sight, world_from_camera: Tensor) -> tuple[Cells, Tensor] | None:
    """The landmarks that a pose (1, 4, 4) should see, and which of them it sees where they are.

    Returns:
        Cells of `look_for`, and which agree, (N,) bool; None where less than three should be in
        sight.
    """
    # Small windows would agree with any pose that they lie about, and those about the start with
    # what was fitted to them.
    judged = _look(sight, world_from_camera, WIDE_SEARCH)
    return None if judged is None else (judged, agreeing_landmarks(world_from_camera, judged))


def _look(sight: Sight, world_from_camera: Tensor, search: Search) -> Cells | None:
    return look_for(sight, world_from_camera[0].numpy(), search)


def _hardly_moved(first: Tensor, second: Tensor, cells: Cells) -> bool:
    """Whether two poses see most landmarks in the same places."""
    near = to_numpy(shifts(first, second, cells)) < AGREEMENT_TANGENT
    # The lower one of two medians is small where more than so many are.
    return np.count_nonzero(near) > (len(near) - 1) // 2


def shifts(first: Tensor, second: Tensor, cells: Cells) -> Tensor:
    """How far apart two poses see the landmarks, as tangents, (N,)."""
    one, other, points = lightest(first, second, cells.world_points)
    with unwarned():
        offsets = _tangents(one, points) - _tangents(other, points)
        return to_torch((offsets * offsets).sum(axis=-1) ** 0.5)


def agreeing_landmarks(world_from_camera: Tensor, cells: Cells) -> Tensor:
    """Which landmarks of one image a pose sees on their rays, (N,) bool."""
    pose, points, rays, weights = lightest(
        world_from_camera, cells.world_points, cells.rays, cells.weights
    )
    with unwarned():
        offsets = _tangents(pose, points) - rays[0, :, :2]
        distances = (offsets * offsets).sum(axis=-1) ** 0.5
    return to_torch((distances < AGREEMENT_TANGENT) & (weights[0] > 0))


def _tangents(world_from_camera: Array, points: Array) -> Array:
    """Of one image's landmarks, x / z and y / z, (N, 2); infinite behind the camera."""
    pose = world_from_camera[0]
    seen = (points[0] - pose[:3, 3]) @ pose[:3, :3]
    depth = seen[:, 2:]
    return namespace(seen).where(depth > LEAST_DEPTH_M, seen[:, :2] / depth, math.inf)
