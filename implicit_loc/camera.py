"""Pinhole and fisheye cameras, and the ray of every cell of the network's output.

Pixels count as in OpenCV and ROS: the centre of the first pixel is (0, 0). The image is never
undistorted; its rays are, once per camera.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.errors import CameraError

FloatArray = NDArray[np.float64]

# How many coefficients each model takes, under the names of sensor_msgs/CameraInfo.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    'none': (0,),
    'plumb_bob': (4, 5),
    'rational_polynomial': (8,),
    'equidistant': (4,),
}

# A ray that does not project back to its pixel within this is outside of the model's range.
ROUND_TRIP_TOLERANCE_PX = 0.1

# Unit-depth rays cannot express directions at 90 degrees; wider ones are masked well before.
WIDEST_RAY_RAD = math.radians(85.0)


@dataclass(frozen=True)
class Camera:
    """Intrinsics and distortion of one camera.

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        fx: focal length along x, pixels.
        fy: focal length along y, pixels.
        cx: principal point x, pixels, first pixel's centre = 0.
        cy: principal point y, pixels, first pixel's centre = 0.
        distortion_model: a key of DISTORTION_MODELS.
        distortion: coefficients in OpenCV's order (k1 k2 p1 p2 k3 ..., fisheye k1 k2 k3 k4).

    Raises:
        CameraError: zero size, K that is zero or not finite, unknown model, wrong number of
            coefficients.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = 'none'
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f'the camera has size {self.width}x{self.height}: it must be > 0')
        intrinsics = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(value) for value in intrinsics):
            raise CameraError(f'the intrinsics (fx, fy, cx, cy) = {intrinsics} are not finite')
        if self.fx <= 0 or self.fy <= 0:
            raise CameraError(
                f'the focal length is ({self.fx}, {self.fy}) px: the camera is not calibrated, '
                'publish a CameraInfo with its K'
            )
        if self.distortion_model not in DISTORTION_MODELS:
            raise CameraError(
                f'the distortion model {self.distortion_model!r} is not known; '
                f'known are {", ".join(DISTORTION_MODELS)}'
            )
        counts = DISTORTION_MODELS[self.distortion_model]
        if len(self.distortion) not in counts:
            raise CameraError(
                f'{self.distortion_model} takes {" or ".join(map(str, counts))} coefficients, '
                f'{len(self.distortion)} were given'
            )
        if not all(math.isfinite(value) for value in self.distortion):
            raise CameraError(f'the distortion coefficients {self.distortion} are not finite')

    @property
    def matrix(self) -> FloatArray:
        """K, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def focal_length(self) -> float:
        """Geometric mean of fx and fy, pixels."""
        return math.sqrt(self.fx * self.fy)

    @property
    def aspect_ratio(self) -> float:
        """Width over height."""
        return self.width / self.height

    def scaled(self, width: int, height: int) -> 'Camera':
        """The camera of the same image resized to width x height pixels."""
        scale_x, scale_y = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * scale_x,
            fy=self.fy * scale_y,
            # The corner of the image stays in place, not the centre of its first pixel.
            cx=(self.cx + 0.5) * scale_x - 0.5,
            cy=(self.cy + 0.5) * scale_y - 0.5,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> 'Camera':
        """The camera of the window that begins at pixel (left, top).

        Raises:
            CameraError: the window leaves the image.
        """
        inside = left >= 0 and top >= 0
        if not inside or left + width > self.width or top + height > self.height:
            raise CameraError(
                f'the window {width}x{height} at ({left}, {top}) leaves the image '
                f'of {self.width}x{self.height}'
            )
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def project(self, camera_points: FloatArray) -> FloatArray:
        """Pixels of points in the camera frame.

        Args:
            camera_points: (..., 3), metres or any unit, z > 0.

        Returns:
            (..., 2) pixels.
        """
        points = np.ascontiguousarray(camera_points, dtype=np.float64).reshape(-1, 1, 3)
        zero = np.zeros(3)
        if len(points) == 0:
            pixels = np.empty((0, 2))
        elif self.distortion_model == 'none':
            depth = np.where(points[..., 2:] == 0, 1, points[..., 2:])
            pixels = points[..., :2] / depth * (self.fx, self.fy) + (self.cx, self.cy)
        elif self.distortion_model == 'equidistant':
            pixels, _ = cv2.fisheye.projectPoints(
                points, zero, zero, self.matrix, np.array(self.distortion)
            )
        else:
            pixels, _ = cv2.projectPoints(
                points, zero, zero, self.matrix, np.array(self.distortion)
            )
        return np.asarray(pixels, dtype=np.float64).reshape(*np.shape(camera_points)[:-1], 2)

    def unproject(self, pixels: FloatArray) -> FloatArray:
        """Undistorted rays of unit depth.

        Args:
            pixels: (..., 2).

        Returns:
            (..., 3) with z = 1; NaN where the distortion model has no ray for the pixel.
        """
        flat = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 2)
        rays = np.ones((len(flat), 3))
        if self.distortion_model == 'equidistant':
            rays[:, :2], valid = _undistort_equidistant(self, flat)
        elif self.distortion_model == 'none':
            rays[:, :2] = (flat - (self.cx, self.cy)) / (self.fx, self.fy)
            valid = np.ones(len(flat), dtype=bool)
        else:
            rays[:, :2], valid = _undistort_polynomial(self, flat)
        if self.distortion_model != 'none':
            error = np.linalg.norm(self.project(np.nan_to_num(rays)) - flat, axis=-1)
            valid &= error < ROUND_TRIP_TOLERANCE_PX
        rays[~valid] = np.nan
        return rays.reshape(*np.shape(pixels)[:-1], 3)

    def rays(self, stride: int) -> NDArray[np.float32]:
        """The ray of every output cell at a stride, computed once per camera.

        Cell (i, j) looks through pixel ((j + 0.5) * stride - 0.5, (i + 0.5) * stride - 0.5).

        Returns:
            (ceil(height / stride), ceil(width / stride), 3) with z = 1, read-only; NaN where
            the distortion model has no ray.
        """
        return _cell_rays(self, stride)


def cell_pixels(
    rows: Sequence[int] | range, columns: Sequence[int] | range, stride: int
) -> FloatArray:
    """Pixels through which output cells look.

    Returns:
        (len(rows), len(columns), 2), x then y.
    """
    y = (np.asarray(rows, dtype=np.float64) + 0.5) * stride - 0.5
    x = (np.asarray(columns, dtype=np.float64) + 0.5) * stride - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1)


def output_size(width: int, height: int, stride: int) -> tuple[int, int]:
    """Rows and columns of the network's output for an input of width x height pixels."""
    return -(-height // stride), -(-width // stride)


@lru_cache(maxsize=64)
def _cell_rays(camera: Camera, stride: int) -> NDArray[np.float32]:
    rows, columns = output_size(camera.width, camera.height, stride)
    rays = camera.unproject(cell_pixels(range(rows), range(columns), stride)).astype(np.float32)
    rays.flags.writeable = False
    return rays


def _undistort_polynomial(
    camera: Camera, pixels: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Finish OpenCV's undistortion, which stops after five steps, by Newton's method.

    The function with adjustable limits is not the same in OpenCV 4 and 5; projection is.
    """

    def distort(normalised: FloatArray) -> FloatArray:
        ones = np.ones((len(normalised), 1))
        return camera.project(np.concatenate([normalised, ones], axis=1))

    step = np.eye(2) * 1e-6
    found = cv2.undistortPoints(pixels[:, None], camera.matrix, np.array(camera.distortion))
    found = np.nan_to_num(np.asarray(found, dtype=np.float64).reshape(-1, 2))
    for _ in range(8):
        slopes = [(distort(found + h) - distort(found - h)) / 2e-6 for h in step]
        jacobian = np.stack(slopes, axis=-1)
        determinant = np.linalg.det(jacobian)
        solvable = np.abs(determinant) > 1e-3
        jacobian[~solvable] = np.eye(2)
        error = np.where(solvable[:, None], pixels - distort(found), 0.0)
        found = np.clip(found + np.linalg.solve(jacobian, error[..., None])[..., 0], -1e3, 1e3)
    # Where the polynomial folds back, the image is stretched backwards along at least one axis.
    forward = (determinant > 1e-3) & (np.trace(jacobian, axis1=-2, axis2=-1) > 0)
    return found, np.asarray(forward)


def _undistort_equidistant(
    camera: Camera, pixels: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Invert theta_d = theta (1 + k1 theta^2 + ...) by Newton's method.

    OpenCV's own inverse clips the angle silently (and stops after ten steps in older
    versions); here an angle without a solution is reported instead.
    """
    k1, k2, k3, k4 = camera.distortion
    distorted = (pixels - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    radius = np.linalg.norm(distorted, axis=-1)
    theta = np.minimum(radius, WIDEST_RAY_RAD)
    for _ in range(30):
        square = theta * theta
        value = theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
        slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
        step = (value - radius) / np.where(np.abs(slope) < 1e-6, 1e-6, slope)
        theta = np.clip(theta - step, 0.0, WIDEST_RAY_RAD)
    scale = np.where(radius > 1e-9, np.tan(theta) / np.maximum(radius, 1e-9), 1.0)
    return distorted * scale[:, None], theta < WIDEST_RAY_RAD
