"""`implicit_loc.landmark_search` in fixed shapes: places for the most landmarks, however few."""

from dataclasses import fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from implicit_loc.arrays import Constant
from implicit_loc.cells import OPTICAL_AXIS, Cells
from implicit_loc.device_solving.camera import DeviceCamera
from implicit_loc.landmark_search import (
    LARGEST_RATIO,
    LEAST_CURVATURE,
    LEAST_DEPTH_M,
    STRIDE,
    WIDEST_ANGLE_COSINE,
    Landmarks,
    Search,
)

# The middle, left and above of it, right and below of it.
_COLUMNS_BESIDE = Constant(np.array([0.0, -1.0, 0.0, 1.0, 0.0]))
_ROWS_BESIDE = Constant(np.array([0.0, 0.0, -1.0, 0.0, 1.0]))


class Sighting(NamedTuple):
    """Landmarks that a pose should see, M of them at most.

    Attributes:
        cells: as of `look_for`, (1, M); others have no weight.
        looked_for: how many, ().
        is_real: whether a place is one of these, (M,) bool.
    """

    cells: Cells
    looked_for: Tensor
    is_real: Tensor


class Chosen(NamedTuple):
    """Landmarks that are looked for, of M places.

    Attributes:
        landmark: its index, (M,); of a place that is not used, any.
        is_real: whether the place is used, (M,) bool.
        looked_for: how many are, ().
        depth: from the camera, (M,), metres.
        pixels: where the pose sees them, (M, 2); 0 of places that are not used.
    """

    landmark: Tensor
    is_real: Tensor
    looked_for: Tensor
    depth: Tensor
    pixels: Tensor


class DeviceLandmarks(nn.Module):
    """The landmarks of a map, and how they are found in an image.

    Positions are in float64: in the map's coordinates float32 has too few digits. Likenesses are
    in float32, as on the host; only their sums are in another order.

    Args:
        landmarks: of the map.
        camera: of the network's input, shared with the other parts of a solver.
    """

    positions: Tensor
    descriptors: Tensor
    directions: Tensor
    distances: Tensor

    def __init__(self, landmarks: Landmarks, camera: DeviceCamera) -> None:
        super().__init__()
        self.camera = camera
        for field in fields(landmarks):
            values = getattr(landmarks, field.name)
            self.register_buffer(field.name, torch.from_numpy(values.copy()))

    def look_for(self, image: Tensor, world_from_camera: Tensor, search: Search) -> Sighting:
        """As `landmark_search.look_for`, without a mask.

        Args:
            image: descriptors of the places at STRIDE, (h, w, C).
            world_from_camera: (1, 4, 4), float64.
            search: how.
        """
        chosen = self._in_sight(world_from_camera[0], search.most)
        expected = ((chosen.pixels + 0.5) / STRIDE - 0.5).round().long()
        own = self.descriptors[chosen.landmark]
        likeness = _likeness(own, image, expected, search.reach)
        best, peak, has_peak = _peaks(likeness)
        first = expected - search.reach
        rows, columns = image.shape[:2]
        column, row = (first + best).unbind(dim=-1)
        place = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
        tangents, has_ray = self.camera.unproject((first + peak + 0.5) * STRIDE - 0.5, place)
        is_found = has_peak & has_ray & chosen.is_real
        ones = torch.ones_like(tangents[:, :1])
        rays = torch.cat([tangents, ones], dim=-1)
        rays = torch.where(is_found[:, None], rays, OPTICAL_AXIS.like(rays))
        cells = Cells(
            self.positions[chosen.landmark][None],
            (rays * chosen.depth[:, None])[None],
            rays[None],
            is_found.double()[None],
            self.camera.focal_length,
        )
        return Sighting(cells, chosen.looked_for, chosen.is_real)

    def _in_sight(self, pose: Tensor, most: int) -> Chosen:
        """Which landmarks a pose (4, 4) should see, the first `most` of them."""
        offsets = self.positions - pose[:3, 3]
        seen = offsets @ pose[:3, :3]
        depth = seen[:, 2]
        in_front = depth > LEAST_DEPTH_M
        tangents = seen[:, :2] / torch.where(in_front, depth, 1)[:, None]
        pixels = self.camera.project(tangents)
        distances = offsets.norm(dim=-1)
        towards_camera = -(offsets * self.directions).sum(dim=-1)
        in_sight = (
            in_front
            # Beyond its field of view, a distortion model may fold the world back into the image.
            & (tangents.norm(dim=-1) < self.camera.widest_tangent)
            & (towards_camera > WIDEST_ANGLE_COSINE * distances)
            & (distances < LARGEST_RATIO * self.distances)
            & (self.distances < LARGEST_RATIO * distances)
            & (pixels > STRIDE).all(dim=-1)
            & (pixels[:, 0] < self.camera.width - STRIDE)
            & (pixels[:, 1] < self.camera.height - STRIDE)
        )
        counted = in_sight.cumsum(0)
        place = torch.arange(1, most + 1, device=counted.device)
        is_real = place <= counted[-1]
        # The n-th one in sight is where the count first comes to n.
        index = torch.searchsorted(counted, place).clamp_max(len(counted) - 1)
        pixels = torch.where(is_real[:, None], pixels[index], 0)
        return Chosen(index, is_real, counted[-1].clamp_max(most), depth[index], pixels)


def _likeness(own: Tensor, image: Tensor, expected: Tensor, reach: int) -> Tensor:
    """As `landmark_search`: windows (M, k, k) of products; -inf beyond the image.

    Args:
        own: descriptors of the landmarks, (M, C).
        image: those of the places, (h, w, C).
        expected: column and row of the windows' centres, (M, 2).
        reach: half the side k = 2 reach + 1 of the windows.
    """
    rows, columns, channels = image.shape
    steps = torch.arange(-reach, reach + 1, device=own.device)
    column, row = expected[:, :1] + steps, expected[:, 1:] + steps
    near_column, near_row = column.clamp(0, columns - 1), row.clamp(0, rows - 1)
    places = near_row[:, :, None] * columns + near_column[:, None]
    # Products with every place would need no copies, but grow with the image.
    windows = image.reshape(-1, channels)[places.flatten(1)]
    likeness = (windows @ own[:, :, None]).view(places.shape)
    inside = (row == near_row)[:, :, None] & (column == near_column)[:, None]
    return torch.where(inside & likeness.isfinite(), likeness, -torch.inf)


def _peaks(likeness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where windows (M, k, k) have their largest value, as in `landmark_search`.

    Returns:
        Column and row of the largest value, (M, 2); the same to a fraction, by the parabolas
        through the neighbours; and whether there are neighbours, (M,) bool.
    """
    side = likeness.shape[1]
    flat = likeness.flatten(1)
    best = flat.argmax(dim=1)
    row, column = best // side, best % side
    is_inner = (torch.minimum(row, column) > 0) & (torch.maximum(row, column) < side - 1)
    middle = torch.where(is_inner, best, side + 1)
    beside = _COLUMNS_BESIDE.like(middle) + side * _ROWS_BESIDE.like(middle)
    near = flat.gather(1, middle[:, None] + beside)
    is_found = is_inner & near.isfinite().all(dim=1)
    near = torch.where(is_found[:, None], near, 0).double()
    before, after = near[:, 1:3], near[:, 3:5]
    curvature = before - 2 * near[:, :1] + after
    peaked = curvature < -LEAST_CURVATURE
    fraction = (before - after) / torch.where(peaked, 2 * curvature, torch.inf)
    place = torch.stack([column, row], dim=-1)
    return place, place + fraction, is_found
