"""A baseline beside the closed form: PnP + RANSAC + refinement on the same world points.

It uses what OpenCV offers and nothing of the network but its world points: neither depth nor
weights. So it tells how much of an error comes from those.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera

FloatArray = NDArray[np.float64]

ITERATIONS = 2000
CONFIDENCE = 0.9999
THRESHOLD_PX = 10.0
# The threshold is for images of this height, the one at which it was published.
REFERENCE_HEIGHT_PX = 480
MIN_INLIERS = 10
REFINEMENTS = 10
# Points whose second principal axis is shorter than this share of the first lie on a line.
MIN_SPREAD = 1e-3


def solve_pnp(
    world_points: NDArray[np.float32] | FloatArray, camera: Camera, stride: int
) -> FloatArray | None:
    """Pose from world points alone; the same input gives the same pose.

    Args:
        world_points: of the output cells, (h, w, 3) metres; non-finite points are left out.
        camera: intrinsics and distortion of the network's input.
        stride: pixels of the input per output cell.

    Returns:
        world_from_camera (4, 4), or None where the points give none: too few of them agree, or
        they lie on a line.
    """
    # Undistorted rays with K = identity make every camera model, fisheye too, a plain pinhole.
    rays = camera.rays(stride).reshape(-1, 3)
    points: FloatArray = np.asarray(world_points, dtype=np.float64).reshape(-1, 3)
    usable = np.isfinite(points).all(axis=1) & np.isfinite(rays).all(axis=1)
    points = points[usable]
    pixels = np.ascontiguousarray(rays[usable, :2], dtype=np.float64)
    if not _spans_a_plane(points):
        return None
    # OpenCV computes this in float32: points far from the origin would lose their digits.
    centre = np.median(points, axis=0)
    threshold = THRESHOLD_PX * camera.height / REFERENCE_HEIGHT_PX / camera.focal_length
    camera_from_centred = _ransac(points - centre, pixels, threshold)
    if camera_from_centred is None:
        return None
    world_from_camera = np.asarray(np.linalg.inv(camera_from_centred), dtype=np.float64)
    world_from_camera[:3, 3] += centre
    return world_from_camera


def _spans_a_plane(points: FloatArray) -> bool:
    """Whether (N, 3) points are enough, and neither all equal nor on one line."""
    if len(points) < MIN_INLIERS:
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    size = max(1.0, float(np.abs(points).max()))
    return bool(spread[0] > 1e-6 * size and spread[1] > MIN_SPREAD * spread[0])


def _ransac(points: FloatArray, pixels: FloatArray, threshold: float) -> FloatArray | None:
    """camera_from_world (4, 4) of points (N, 3) and their normalised pixels (N, 2)."""
    identity, undistorted = np.eye(3), np.zeros(4)
    try:
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points, pixels, identity, undistorted, iterationsCount=ITERATIONS,
            reprojectionError=threshold, confidence=CONFIDENCE, flags=cv2.SOLVEPNP_P3P,
        )  # fmt: skip
        if not found or inliers is None:
            return None
        chosen = inliers.ravel()
        # The inliers of a minimal sample share its error, which one refinement on them keeps.
        for _ in range(REFINEMENTS):
            if not _spans_a_plane(points[chosen]):
                return None
            rotation, translation = cv2.solvePnPRefineLM(
                points[chosen], pixels[chosen], identity, undistorted, rotation, translation
            )
            camera_from_world = np.eye(4)
            camera_from_world[:3, :3] = cv2.Rodrigues(rotation)[0]
            camera_from_world[:3, 3] = translation.ravel()
            before, chosen = chosen, _inliers(camera_from_world, points, pixels, threshold)
            if np.array_equal(before, chosen):
                break
    except cv2.error:
        # Its solvers assert instead of answering when a configuration is degenerate.
        return None
    enough = len(chosen) >= MIN_INLIERS and np.isfinite(camera_from_world).all()
    return camera_from_world if enough else None


def _inliers(
    camera_from_world: FloatArray, points: FloatArray, pixels: FloatArray, threshold: float
) -> NDArray[np.intp]:
    """Indices of the points in front of the camera that project to their pixels."""
    seen = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    in_front = seen[:, 2] > 0.0
    projected = seen[:, :2] / np.where(in_front, seen[:, 2], 1.0)[:, None]
    near = np.linalg.norm(projected - pixels, axis=1) < threshold
    return np.flatnonzero(in_front & near)
