"""The baselines of Altillawi et al. 2023, Table III: rigid + RANSAC and PnP + RANSAC.

Both draw their samples from a generator of their own with a fixed seed: the same input gives the
same pose. They run on the host, image by image.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.alignment import align
from implicit_loc.cells import Cells
from implicit_loc.errors import AlignmentError
from implicit_loc.poses import transform_points

FloatArray = NDArray[np.float64]

ITERATIONS = 2000
MIN_INLIERS = 10
RIGID_THRESHOLD_M = 0.1
# 10 px, in images of 640 x 480 pixels under the focal length of the recordings that it was
# published for; as a tangent it means the same in images of any size.
PNP_THRESHOLD = 10.0 / 525.0
PNP_CONFIDENCE = 0.9999

# Both end with a refinement on the inliers, repeated until they no longer change.
_REFINEMENTS = 10

# Points whose second principal axis is shorter than this share of the first lie on a line.
_MIN_SPREAD = 1e-3


def rigid_ransac(cells: Cells) -> Tensor:
    """Rigid alignment of three cells, 2000 times; the pose with most points within 10 cm.

    Returns:
        world_from_camera, (B, 4, 4).

    Raises:
        AlignmentError: fewer than ten cells of an image agree on a pose.
    """
    return _image_by_image(cells, _rigid_one, 'rigid RANSAC')


def pnp_ransac(cells: Cells) -> Tensor:
    """P3P on world points and rays, 2000 times, and refinement on the inliers, by OpenCV.

    It uses neither depth nor weights; a cell of weight zero is left out.

    Returns:
        world_from_camera, (B, 4, 4).

    Raises:
        AlignmentError: fewer than ten cells of an image agree on a pose, or they lie on a line.
    """
    return _image_by_image(cells, _pnp_one, 'PnP + RANSAC')


def solve_pnp(world_points: FloatArray, rays: FloatArray) -> FloatArray | None:
    """PnP + RANSAC + refinement of one image.

    Args:
        world_points: (N, 3), metres, finite.
        rays: of unit depth, (N, 3), finite. With K = identity they make every camera model,
            fisheye too, a plain pinhole.

    Returns:
        world_from_camera, (4, 4); None where too few points agree or they lie on a line.
    """
    if not _spans_a_plane(world_points):
        return None
    pixels = np.ascontiguousarray(rays[:, :2])
    # OpenCV computes this in float32: points far from the origin would lose their digits.
    centre = np.median(world_points, axis=0)
    camera_from_centred = _pnp_ransac(world_points - centre, pixels)
    if camera_from_centred is None:
        return None
    world_from_camera = np.asarray(np.linalg.inv(camera_from_centred), dtype=np.float64)
    world_from_camera[:3, 3] += centre
    return world_from_camera


def _image_by_image(
    cells: Cells, solve: Callable[[Cells], FloatArray | None], method: str
) -> Tensor:
    poses = []
    for index in range(len(cells.weights)):
        used = cells.weights[index] > 0
        one = Cells(
            cells.world_points[index, used].double().cpu(),
            cells.camera_points[index, used].double().cpu(),
            cells.rays[index, used].double().cpu(),
            cells.weights[index, used].double().cpu(),
            cells.focal_length[index],
        )
        pose = solve(one)
        if pose is None:
            raise AlignmentError(
                f'{method} finds no pose on which {MIN_INLIERS} cells agree that are not on a line'
            )
        poses.append(pose)
    return torch.from_numpy(np.stack(poses)).to(cells.world_points)


def _rigid_one(cells: Cells) -> FloatArray | None:
    world, camera = cells.world_points, cells.camera_points
    generator = np.random.default_rng(0)
    chosen = torch.from_numpy(generator.integers(0, len(world), (ITERATIONS, 3)))
    hypotheses = align(world[chosen], camera[chosen], torch.ones(ITERATIONS, 3).double())
    # In slices: all distances at once would take 200 MB.
    counts = torch.cat(
        [_near(poses, world, camera).sum(dim=-1) for poses in hypotheses.split(100)]
    )
    pose = hypotheses[counts.argmax()]
    inliers = _near(pose[None], world, camera)
    for _ in range(_REFINEMENTS):
        pose = align(world[None], camera[None], inliers.double())[0]
        before, inliers = inliers, _near(pose[None], world, camera)
        if torch.equal(before, inliers):
            break
    enough = int(inliers.sum()) >= MIN_INLIERS and bool(pose.isfinite().all())
    return pose.numpy() if enough else None


def _near(poses: Tensor, world: Tensor, camera: Tensor) -> Tensor:
    """Whether points agree under poses (H, 4, 4): (H, N)."""
    distances = (transform_points(poses, camera[None]) - world).square().sum(dim=-1)
    return distances < RIGID_THRESHOLD_M**2


def _pnp_one(cells: Cells) -> FloatArray | None:
    return solve_pnp(cells.world_points.numpy(), cells.rays.numpy())


def _spans_a_plane(points: FloatArray) -> bool:
    """Whether (N, 3) points are enough, and neither all equal nor on one line."""
    if len(points) < MIN_INLIERS:
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    size = max(1.0, float(np.abs(points).max()))
    return bool(spread[0] > 1e-6 * size and spread[1] > _MIN_SPREAD * spread[0])


def _pnp_ransac(points: FloatArray, pixels: FloatArray) -> FloatArray | None:
    """camera_from_world (4, 4) of points (N, 3) and their normalised pixels (N, 2)."""
    identity, undistorted = np.eye(3), np.zeros(4)
    try:
        found, rotation, translation, inliers = cv2.solvePnPRansac(
            points, pixels, identity, undistorted, iterationsCount=ITERATIONS,
            reprojectionError=PNP_THRESHOLD, confidence=PNP_CONFIDENCE,
            flags=cv2.SOLVEPNP_P3P,
        )  # fmt: skip
        if not found or inliers is None:
            return None
        chosen = inliers.ravel()
        # The inliers of a minimal sample share its error, which one refinement on them keeps.
        for _ in range(_REFINEMENTS):
            if not _spans_a_plane(points[chosen]):
                return None
            rotation, translation = cv2.solvePnPRefineLM(
                points[chosen], pixels[chosen], identity, undistorted, rotation, translation
            )
            camera_from_world = np.eye(4)
            camera_from_world[:3, :3] = cv2.Rodrigues(rotation)[0]
            camera_from_world[:3, 3] = translation.ravel()
            before, chosen = chosen, _pnp_inliers(camera_from_world, points, pixels)
            if np.array_equal(before, chosen):
                break
    except cv2.error:
        # Its solvers assert instead of answering when a configuration is degenerate.
        return None
    enough = len(chosen) >= MIN_INLIERS and np.isfinite(camera_from_world).all()
    return camera_from_world if enough else None


def _pnp_inliers(
    camera_from_world: FloatArray, points: FloatArray, pixels: FloatArray
) -> NDArray[np.intp]:
    """Indices of the points in front of the camera that project to their pixels."""
    seen = points @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
    in_front = seen[:, 2] > 0.0
    projected = seen[:, :2] / np.where(in_front, seen[:, 2], 1.0)[:, None]
    near = np.linalg.norm(projected - pixels, axis=1) < PNP_THRESHOLD
    return np.flatnonzero(in_front & near)
