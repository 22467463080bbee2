"""The epipolar error: how far matched points lie from the lines that poses and camera predict.

For a point x1 of one image and x2 of another, and E = [t]x R of first_from_second = (R, t), the
line of x2 in the first image is l1 = E x2, and that of x1 in the second image is l2 = E^T x1. The
error is the mean of the distances of x1 from l1 and of x2 from l2, in pixels of the full-size,
undistorted images. The error of a pair of images is the median over its correspondences, all of
which agree with *some* epipolar geometry; that of a recording is the median over its pairs.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets.parsing import inverse

FloatArray = NDArray[np.float64]

# Relative to the unit of the poses: below it two cameras stand at one place, and have no lines.
_NO_BASELINE = 1e-9


@dataclass(frozen=True)
class Correspondences:
    """Matched points of P pairs of images, M in each.

    Attributes:
        first: (P,) frame indices.
        second: (P,) frame indices.
        first_points: (P, M, 2) undistorted, at unit depth.
        second_points: (P, M, 2).
        first_focal: (P, 2) fx and fy, pixels.
        second_focal: (P, 2).
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    first_points: FloatArray
    second_points: FloatArray
    first_focal: FloatArray
    second_focal: FloatArray

    def __len__(self) -> int:
        return len(self.first)

    def chosen(self, pairs: NDArray[np.intp] | NDArray[np.bool_]) -> 'Correspondences':
        """Some of the pairs."""
        return Correspondences(*(getattr(self, name)[pairs] for name in vars(self)))

    def spread(self, pairs: int, every: int = 1) -> tuple['Correspondences', NDArray[np.intp]]:
        """At most so many pairs, evenly chosen, with every k-th of their points, k = `every`.

        Returns:
            The correspondences, and which pairs they are.
        """
        kept = np.unique(np.linspace(0, len(self) - 1, min(pairs, len(self))).astype(np.intp))
        few = self.chosen(kept)
        return replace(
            few,
            first_points=few.first_points[:, ::every],
            second_points=few.second_points[:, ::every],
        ), kept


@dataclass(frozen=True)
class Calibration:
    """How a camera differs from the given one.

    Attributes:
        focal_scale: of x and y, 1 = as given.
        shift_px: of the principal point, pixels.
        radial: k1 of a distortion beside the given one.
    """

    focal_scale: tuple[float, float] = (1.0, 1.0)
    shift_px: tuple[float, float] = (0.0, 0.0)
    radial: float = 0.0


AS_GIVEN = Calibration()


def recalibrated(points: Correspondences, calibration: Calibration) -> Correspondences:
    """The same pixels seen through another camera."""
    scale = np.array(calibration.focal_scale)

    def rays(found: FloatArray, focal: FloatArray) -> FloatArray:
        moved = (found - np.array(calibration.shift_px) / focal[:, None]) / scale
        if calibration.radial == 0.0:
            return moved
        straight = moved
        for _ in range(4):
            square = (straight**2).sum(axis=-1, keepdims=True)
            straight = moved / np.clip(1.0 + calibration.radial * square, 0.3, 3.0)
        return straight

    return replace(
        points,
        first_points=rays(points.first_points, points.first_focal),
        second_points=rays(points.second_points, points.second_focal),
        first_focal=points.first_focal * scale,
        second_focal=points.second_focal * scale,
    )


def relative_poses(world_from_camera: FloatArray, points: Correspondences) -> FloatArray:
    """first_from_second of all pairs, (P, 4, 4)."""
    return inverse(world_from_camera[points.first]) @ world_from_camera[points.second]


def signed_errors(first_from_second: FloatArray, points: Correspondences) -> FloatArray:
    """Epipolar errors with a sign, which makes them smooth: for least squares.

    Args:
        first_from_second: (P, 4, 4) rigid.
        points: of P pairs.

    Returns:
        (P, M) pixels: the mean distance of a point from its epipolar line in both images. Where
        a pair has no baseline, its distance from where the rotation puts it.
    """
    rotation, translation = first_from_second[:, :3, :3], first_from_second[:, :3, 3]
    essential = _skew(translation) @ rotation
    first, second = _homogeneous(points.first_points), _homogeneous(points.second_points)
    first_lines = second @ essential.transpose(0, 2, 1)
    second_lines = first @ essential
    algebraic = (first * first_lines).sum(axis=-1)
    with np.errstate(divide='ignore', invalid='ignore'):
        nearness = 1.0 / _slope(first_lines, points.first_focal)
        nearness += 1.0 / _slope(second_lines, points.second_focal)
        errors = 0.5 * algebraic * nearness
    still = np.linalg.norm(translation, axis=1) < _NO_BASELINE
    if still.any():
        turned = second[still] @ rotation[still].transpose(0, 2, 1)
        with np.errstate(divide='ignore', invalid='ignore'):
            offset = turned[..., :2] / turned[..., 2:] - points.first_points[still]
        errors[still] = np.linalg.norm(offset * points.first_focal[still, None], axis=-1)
    return np.nan_to_num(errors, nan=1e4, posinf=1e4, neginf=-1e4)


def second_lines(first_from_second: FloatArray, points: Correspondences) -> FloatArray:
    """The lines a x + b y + c = 0 of the first points in the second images, (P, M, 3)."""
    essential = _skew(first_from_second[:, :3, 3]) @ first_from_second[:, :3, :3]
    return _homogeneous(points.first_points) @ essential


def pair_errors(first_from_second: FloatArray, points: Correspondences) -> FloatArray:
    """The epipolar error of each pair, (P,) pixels: the median over its correspondences."""
    return np.median(np.abs(signed_errors(first_from_second, points)), axis=1)


def line_distances(fundamental: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """The same error under a fundamental matrix, x1^T F x2 = 0.

    Args:
        fundamental: (3, 3).
        first: (N, 2) pixels.
        second: (N, 2) pixels.

    Returns:
        (N,) pixels.
    """
    one, two = _homogeneous(first), _homogeneous(second)
    first_lines, second_lines = two @ fundamental.T, one @ fundamental
    algebraic = np.abs((one * first_lines).sum(axis=-1))
    slopes = [np.linalg.norm(lines[:, :2], axis=-1) for lines in (first_lines, second_lines)]
    return 0.5 * algebraic * (1.0 / (slopes[0] + 1e-12) + 1.0 / (slopes[1] + 1e-12))


def depths(
    first_from_second: FloatArray, points: Correspondences
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Triangulates every correspondence: where its two rays come nearest to each other.

    Args:
        first_from_second: (P, 4, 4) rigid.
        points: of P pairs.

    Returns:
        Depth in the first and in the second camera, in the unit of the poses, and the angle
        between the rays in radians, all (P, M). Depths are negative behind a camera.
    """
    first = _homogeneous(points.first_points)
    rays = _homogeneous(points.second_points)
    second = rays @ first_from_second[:, :3, :3].transpose(0, 2, 1)
    baseline = first_from_second[:, None, :3, 3]
    # Normal equations of |a first - b second - t|^2 for the depths a and b.
    aa, bb, ab = (
        (first * first).sum(-1),
        (second * second).sum(-1),
        (first * second).sum(-1),
    )
    at, bt = (first * baseline).sum(-1), (second * baseline).sum(-1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-15)
    sine = np.linalg.norm(np.cross(first, second), axis=-1)
    angle = np.arctan2(sine, ab)
    return (bb * at - ab * bt) / determinant, (ab * at - aa * bt) / determinant, angle


def _homogeneous(points: FloatArray) -> FloatArray:
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)


def _slope(lines: FloatArray, focal: FloatArray) -> FloatArray:
    """Length of the normals of lines (P, M, 3) in pixel coordinates."""
    return np.linalg.norm(lines[..., :2] / focal[:, None], axis=-1)


def _skew(vectors: FloatArray) -> FloatArray:
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2] = -z, y, -x
    matrices[:, 1, 0], matrices[:, 2, 0], matrices[:, 2, 1] = z, -y, x
    return matrices
