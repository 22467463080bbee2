"""The implicit map made explicit: what the network predicts for the frames of a recording."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.network import SceneGeometry
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.evaluation.colours import cell_colours

# Beyond this a float32 is coarser than the objects that are mapped.
FARTHEST_M = 1e6
# While frames come in, at most this many times the wanted points are kept: room to choose from.
_SPARE = 2
# The first side of a voxel that a cloud without voxels is thinned with when memory runs out.
_FINEST_M = 1e-3
_BISECTIONS = 8
_LARGEST_INTEGER = 2.0**62


@dataclass(frozen=True)
class PointCloud:
    """Coloured, weighted points.

    Attributes:
        positions: (N, 3) float32, metres in the world frame.
        colours: (N, 3) uint8 RGB.
        weights: (N,) float32 in [0, 1].
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.uint8]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.weights)

    def at(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> 'PointCloud':
        """The points of these indices, or those of a mask."""
        return PointCloud(self.positions[chosen], self.colours[chosen], self.weights[chosen])


class GeometrySource(Protocol):
    """What is mapped; `implicit_loc.Localizer` is one."""

    description: CheckpointDescription

    def predict(
        self, image: NDArray[np.uint8], camera: Camera
    ) -> SceneGeometry[NDArray[np.float32]]:
        """The geometry of one image."""


def map_frames(localizer: GeometrySource, samples: Iterable[Sample]) -> Iterator[PointCloud]:
    """The cloud of every frame, computed as it is asked for.

    Raises:
        ImplicitLocError: an image cannot be read, or is not one for this network.
    """
    for sample in samples:
        image = sample.load_image()
        yield frame_cloud(
            localizer.predict(image, sample.camera), image, sample, localizer.description
        )


def frame_cloud(
    geometry: SceneGeometry[NDArray[np.float32]],
    image: NDArray[np.uint8],
    sample: Sample,
    description: CheckpointDescription,
) -> PointCloud:
    """The usable cells of one frame as points.

    Left out are cells that are not finite, that the camera's model does not cover, and that the
    recording says to ignore.

    Args:
        geometry: predicted for the image.
        image: (H, W, 3) RGB.
        sample: the image's camera and mask.
        description: of the network.
    """
    stride = description.network.stride
    rays = input_camera(sample.camera, description.input_height).rays(stride)
    colours = cell_colours(image, sample.camera, description.input_height, stride)
    usable = np.isfinite(rays).all(axis=-1) & np.isfinite(geometry.weights)
    # NaN compares false; no overflow on the way to float64.
    usable &= (np.abs(geometry.world_points) < FARTHEST_M).all(axis=-1)
    if sample.load_mask is not None:
        ignored = (sample.load_mask() * np.uint8(255))[..., None].repeat(3, axis=-1)
        covered = cell_colours(ignored, sample.camera, description.input_height, stride)
        usable &= covered[..., 0] < 128
    cloud = PointCloud(geometry.world_points, colours, geometry.weights)
    return cloud.at(usable)


def gather(
    clouds: Iterable[PointCloud],
    most_points: int,
    voxel_m: float = 0.0,
    least_weight: float = 0.0,
) -> PointCloud:
    """One cloud of many, thinned so that the point of the highest weight stays in each voxel.

    Memory is bounded by `most_points` and the largest of the clouds, however many there are.

    Args:
        clouds: in an order that decides between equal weights.
        most_points: at least 1; where there are more, the voxels grow until these remain.
        voxel_m: side of the voxels, metres; 0 = none.
        least_weight: points below it are left out.

    Returns:
        The points; the same input gives the same points in the same order.
    """
    nothing = np.empty((0, 3), np.float32)
    kept = PointCloud(nothing, nothing.astype(np.uint8), nothing[:, 0])
    side = voxel_m
    most_kept = _SPARE * most_points
    incoming = (cloud.at(cloud.weights >= least_weight) for cloud in clouds)
    for batch in _batches(incoming, most_kept):
        kept = _thin(_join([kept, *batch]), side)
        while len(kept) > most_kept:
            # Doubled voxels contain whole old ones: the result is as if all had been kept.
            side = 2.0 * side or _FINEST_M
            kept = _thin(kept, side)
    return kept if len(kept) <= most_points else _thin_to(kept, most_points, side)


def _batches(clouds: Iterable[PointCloud], points: int) -> Iterator[list[PointCloud]]:
    """Groups of clouds that reach a number of points together."""
    batch: list[PointCloud] = []
    size = 0
    for cloud in clouds:
        batch.append(cloud)
        size += len(cloud)
        if size >= points:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _join(clouds: list[PointCloud]) -> PointCloud:
    return PointCloud(
        np.concatenate([cloud.positions for cloud in clouds]),
        np.concatenate([cloud.colours for cloud in clouds]),
        np.concatenate([cloud.weights for cloud in clouds]),
    )


def _thin(cloud: PointCloud, side: float) -> PointCloud:
    """The point of the highest weight in each voxel; the earlier one of equals."""
    if side == 0.0 or len(cloud) == 0:
        return cloud
    by_weight = np.argsort(-cloud.weights, kind='stable')
    voxels = np.floor(cloud.positions[by_weight].astype(np.float64) / side)
    voxels -= voxels.min(axis=0)
    _, first = np.unique(_one_number(voxels), return_index=True)
    return cloud.at(by_weight[first])


def _one_number(voxels: NDArray[np.float64]) -> NDArray[np.int64]:
    """A number, (N,), for each voxel (N, 3) of coordinates from 0 on: equal for equal ones."""
    counts = voxels.max(axis=0) + 1.0
    if counts.prod() > _LARGEST_INTEGER:
        columns = [np.unique(column, return_inverse=True)[1] for column in voxels.T]
        voxels = np.stack(columns, axis=1).astype(np.float64)
        counts = voxels.max(axis=0) + 1.0
    if counts.prod() > _LARGEST_INTEGER:
        return np.asarray(np.unique(voxels, axis=0, return_inverse=True)[1]).astype(np.int64)
    whole = voxels.astype(np.int64)
    across, along = int(counts[1]), int(counts[2])
    return np.asarray((whole[:, 0] * across + whole[:, 1]) * along + whole[:, 2])


def _thin_to(cloud: PointCloud, most_points: int, side: float) -> PointCloud:
    """The finest thinning that leaves at most `most_points`."""
    fine = max(side, _FINEST_M)
    for doubling in itertools.count(1):
        coarse = fine * 2.0**doubling
        best = _thin(cloud, coarse)
        if len(best) <= most_points:
            break
        # Space has eight corners about its origin, each of which keeps a point.
        if coarse > 4.0 * FARTHEST_M:
            return best.at(np.argsort(-best.weights, kind='stable')[:most_points])
    fine = coarse / 2.0
    for _ in range(_BISECTIONS):
        middle = (fine + coarse) / 2.0
        candidate = _thin(cloud, middle)
        if len(candidate) <= most_points:
            best, coarse = candidate, middle
        else:
            fine = middle
    return best
