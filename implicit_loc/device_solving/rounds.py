"""`landmark_alignment.align_nearby` with a fixed number of searches."""

from typing import NamedTuple

import torch
from torch import Tensor

from implicit_loc.cells import FEWEST_CELLS, Cells
from implicit_loc.device_solving.landmarks import DeviceLandmarks, Sighting
from implicit_loc.landmark_alignment import (
    AGREEMENT_TANGENT,
    CLOSER_SEARCHES,
    LANDMARK_COST,
    WIDE_SEARCH,
    agreeing_landmarks,
    shifts,
)
from implicit_loc.refinement import refine

# Enough for all of redkitchen's 200 test frames, of which one in 34 needs three; the host makes up
# to five.
WIDE_SEARCHES = 3


class AlignedNearby(NamedTuple):
    """A pose that landmarks gave.

    Attributes:
        world_from_camera: (1, 4, 4), float64.
        cells: of the closest search, as in LandmarkPose.
        judged: what a wide search from this pose finds.
        agrees: which of these the pose sees where they are, (M,) bool.
        is_settled: whether the searches came to an end, with landmarks in sight in each of them,
            () bool: otherwise the host would have gone on, or have given up.
    """

    world_from_camera: Tensor
    cells: Cells
    judged: Sighting
    agrees: Tensor
    is_settled: Tensor


def align_nearby(landmarks: DeviceLandmarks, image: Tensor, start: Tensor) -> AlignedNearby:
    """Refine a pose that is right within a few degrees on the landmarks in an image.

    Args:
        landmarks: of the map.
        image: descriptors of the places at STRIDE, (h, w, C).
        start: world_from_camera, (1, 4, 4), float64.
    """
    pose = start
    is_settled = torch.zeros_like(start[0, 0, 0], dtype=torch.bool)
    had_enough = torch.ones_like(is_settled)
    for _ in range(WIDE_SEARCHES):
        wide = landmarks.look_for(image, pose, WIDE_SEARCH)
        had_enough = had_enough & (is_settled | (wide.looked_for >= FEWEST_CELLS))
        last, refined = pose, refine(pose, wide.cells, LANDMARK_COST).world_from_camera
        pose = torch.where(is_settled, last, refined)
        is_settled = is_settled | _hardly_moved(last, refined, wide)
    for search in CLOSER_SEARCHES:
        closer = landmarks.look_for(image, pose, search)
        had_enough = had_enough & (closer.looked_for >= FEWEST_CELLS)
        pose = refine(pose, closer.cells, LANDMARK_COST).world_from_camera
    judged = landmarks.look_for(image, pose, WIDE_SEARCH)
    had_enough = had_enough & (judged.looked_for >= FEWEST_CELLS)
    agrees = agreeing_landmarks(pose, judged.cells) & judged.is_real
    return AlignedNearby(pose, closer.cells, judged, agrees, is_settled & had_enough)


def _hardly_moved(first: Tensor, second: Tensor, sighting: Sighting) -> Tensor:
    """Whether the median of the shifts is below AGREEMENT_TANGENT, () bool."""
    near = shifts(first, second, sighting.cells) < AGREEMENT_TANGENT
    # The lower one of two medians is small where more than so many are.
    return (near & sighting.is_real).sum() > (sighting.looked_for - 1) // 2
