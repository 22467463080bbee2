"""Correspondences between two images that hold whatever the poses say."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.check.epipolar import line_distances
from implicit_loc_trainer.check.images import LONGEST_SIDE
from implicit_loc_trainer.local_features import LocalFeatures

FloatArray = NDArray[np.float64]

# Each pair counts with this many correspondences: arrays stay rectangular, pairs equally heavy.
POINTS = 64
RATIO = 0.8
LEAST_INLIERS = 25
LEAST_INLIER_SHARE = 0.5
RANSAC_PX = 1.5


@dataclass(frozen=True)
class Match:
    """Two images that show the same place, as a fundamental matrix confirms.

    Attributes:
        first: index of a frame.
        second: index of another frame.
        first_pixels: (POINTS, 2) at full size.
        second_pixels: (POINTS, 2), the same points.
        inliers: correspondences that agree with the fundamental matrix.
        displacement: median way of a point from one image to the other over the image's width.
        floor_px: median epipolar error under the fundamental matrix: what the features and the
            camera's distortion leave when nothing is asked of the poses, pixels at full size.
    """

    first: int
    second: int
    first_pixels: FloatArray
    second_pixels: FloatArray
    inliers: int
    displacement: float
    floor_px: float


def match(
    indices: tuple[int, int],
    features: tuple[LocalFeatures, LocalFeatures],
    cameras: tuple[Camera, Camera],
) -> Match | None:
    """Matches two images by mutual nearest neighbours with the ratio test, and by RANSAC.

    Args:
        indices: of the frames.
        features: of the images.
        cameras: only their distortion counts: a fundamental matrix needs no calibration.

    Returns:
        The match; None where too few correspondences agree.
    """
    found = _mutual(features[0].descriptors, features[1].descriptors)
    if len(found) < LEAST_INLIERS:
        return None
    first, second = features[0].pixels[found[:, 0]], features[1].pixels[found[:, 1]]
    straight = [_undistorted(cameras[0], first), _undistorted(cameras[1], second)]
    usable = np.isfinite(straight[0]).all(axis=1) & np.isfinite(straight[1]).all(axis=1)
    if usable.sum() < LEAST_INLIERS:
        return None
    first, second = first[usable], second[usable]
    ideal_first, ideal_second = straight[0][usable], straight[1][usable]
    scale = max(1.0, max(cameras[0].width, cameras[0].height) / LONGEST_SIDE)
    threshold = RANSAC_PX * scale
    fundamental, inlier = _fundamental(ideal_first, ideal_second, threshold)
    if fundamental is None:
        return None
    count = int(inlier.sum())
    if count < LEAST_INLIERS or count < LEAST_INLIER_SHARE * len(inlier):
        return None
    chosen = np.flatnonzero(inlier)[_spread(count)]
    floor = line_distances(fundamental, ideal_first[inlier], ideal_second[inlier])
    way = np.linalg.norm(ideal_first[inlier] - ideal_second[inlier], axis=1)
    return Match(
        *indices,
        first[chosen],
        second[chosen],
        inliers=count,
        displacement=float(np.median(way)) / cameras[0].width,
        floor_px=float(np.median(floor)),
    )


def _fundamental(
    first: FloatArray, second: FloatArray, threshold: float
) -> tuple[FloatArray | None, NDArray[np.bool_]]:
    """F of x1^T F x2 = 0 and its inliers; None where the points determine none."""
    for method in (cv2.USAC_MAGSAC, cv2.USAC_ACCURATE):
        try:
            # The random numbers of these methods have a fixed seed.
            found, mask = cv2.findFundamentalMat(second, first, method, threshold, 0.9999, 3000)
        except cv2.error:
            # MAGSAC may end without any model, which it takes for a mistake of the caller.
            continue
        if found is not None and found.shape == (3, 3) and np.isfinite(found).all():
            return np.asarray(found, dtype=np.float64), mask.ravel().astype(bool)
    return None, np.zeros(len(first), dtype=bool)


def _mutual(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.intp]:
    """Indices (N, 2) of mutual nearest neighbours that pass the ratio test in both directions."""
    if len(first) < 2 or len(second) < 2:
        return np.empty((0, 2), dtype=np.intp)
    similarity = first @ second.T
    forward, forward_passes = _nearest(similarity)
    backward, backward_passes = _nearest(np.ascontiguousarray(similarity.T))
    rows = np.arange(len(first))
    mutual = (backward[forward] == rows) & forward_passes & backward_passes[forward]
    return np.stack([rows[mutual], forward[mutual]], axis=1)


def _nearest(similarity: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The best column of each row, and whether it is clearly better than the second best."""
    best = similarity.argmax(axis=1)
    rows = np.arange(len(similarity))
    top = similarity[rows, best]
    rest = similarity.copy()
    rest[rows, best] = -1.0
    # Of unit vectors, |a - b|^2 = 2 - 2 a b.
    return best, (1.0 - top) < RATIO**2 * (1.0 - rest.max(axis=1))


def _undistorted(camera: Camera, pixels: FloatArray) -> FloatArray:
    """Pixels of the camera without its distortion; NaN where it has no ray."""
    if camera.distortion_model == 'none':
        return pixels
    return camera.unproject(pixels)[:, :2] * (camera.fx, camera.fy) + (camera.cx, camera.cy)


def _spread(count: int) -> NDArray[np.intp]:
    """POINTS indices below count, evenly; repeated where there are fewer."""
    if count >= POINTS:
        return (np.arange(POINTS) * count) // POINTS
    return np.resize(np.arange(count), POINTS)
