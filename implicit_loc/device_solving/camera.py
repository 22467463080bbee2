"""A camera's projection and its inverse in PyTorch, as `implicit_loc.camera` computes them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from implicit_loc.camera import ROUND_TRIP_TOLERANCE_PX, WIDEST_RAY_RAD, Camera
from implicit_loc.cells import rays_of_cells
from implicit_loc.landmark_search import STRIDE, widest_tangent

# The bearing of the nearest place is at most two pixels off, where the slopes of any lens have
# hardly changed: each step of Newton's method with these leaves about a hundredth of the error.
_STEPS = 4

# Of bearings, for the slopes.
_SHIFT = 1e-6

# Of pixels by bearings: with less, the lens shows nothing there.
_LEAST_DETERMINANT = 1e-3

# Of bearings: shorter ones have no direction.
_LEAST_LENGTH = 1e-12


class DeviceCamera(nn.Module):
    """A camera of one size and distortion model, whose numbers may change.

    The distortion models of pinhole cameras bend tangents, x / z and y / z; that of fisheye
    cameras bends angles, and a vector (x, y) as long as the angle to the optical axis is what its
    slopes hardly change with. These are the bearings here. Of a place whose middle is beyond what
    the lens shows, no pixel has a ray, whereas on the host half of them may.

    Args:
        camera: of the network's input.
        stride: pixels of the input per cell.

    Attributes:
        width: of the image, pixels.
        height: of the image, pixels.
        focal_length: (1,), pixels.
        widest_tangent: of the angles between the optical axis and its rays, (1,).
        rays: of the cells, (1, N, 3).
        visible: whether the model has a ray for them, (1, N) bool.
        focal: fx and fy, (2,), pixels.
        centre: cx and cy, (2,), pixels.
        coefficients: of the distortion model, (8,), 0 where it has fewer.
        place_bearings: of the middles of the places at STRIDE, row by row, (P, 2).
        place_slopes: how these change with the pixels, (P, 2, 2); NaN without a ray.
    """

    focal_length: Tensor
    widest_tangent: Tensor
    rays: Tensor
    visible: Tensor
    focal: Tensor
    centre: Tensor
    coefficients: Tensor
    place_bearings: Tensor
    place_slopes: Tensor

    def __init__(self, camera: Camera, stride: int) -> None:
        super().__init__()
        self.width, self.height = camera.width, camera.height
        self._model, self._stride = camera.distortion_model, stride
        for name, values in self._numbers(camera).items():
            self.register_buffer(name, torch.from_numpy(values))

    def use(self, camera: Camera) -> None:
        """Take over the numbers of another camera of the same size and distortion model."""
        # Where somebody has made the tables in inference mode, they cannot be written outside.
        with torch.inference_mode():
            for name, values in self._numbers(camera).items():
                getattr(self, name).copy_(torch.from_numpy(values))

    def _numbers(self, camera: Camera) -> dict[str, NDArray[np.generic]]:
        rays, visible = rays_of_cells(camera, self._stride)
        # Of plumb_bob, the first coefficients of rational_polynomial.
        coefficients = np.zeros(8)
        coefficients[: len(camera.distortion)] = camera.distortion
        tangents = torch.from_numpy(camera.rays(STRIDE)[..., :2].reshape(-1, 2).copy()).double()
        return {
            'focal_length': np.array([camera.focal_length]),
            'widest_tangent': np.array([widest_tangent(camera)]),
            'rays': rays[None].copy(),
            'visible': visible[None].copy(),
            'focal': np.array([camera.fx, camera.fy]),
            'centre': np.array([camera.cx, camera.cy]),
            'coefficients': coefficients,
            'place_bearings': self._bearings(tangents).numpy(),
            'place_slopes': self._slopes(camera, self._bearings(tangents)),
        }

    def _slopes(self, camera: Camera, bearings: Tensor) -> NDArray[np.float64]:
        """How bearings (N, 2) change with the pixels, (N, 2, 2); NaN where there is no ray."""
        ones = torch.ones_like(bearings[:, :1])

        def pixels(shift: Tensor) -> NDArray[np.float64]:
            tangents = self._tangents(bearings + shift)
            return camera.project(torch.cat([tangents, ones], dim=1).numpy())

        steps = _SHIFT * torch.eye(2, dtype=torch.float64)
        columns = [(pixels(step) - pixels(-step)) / (2 * _SHIFT) for step in steps]
        jacobian = np.stack(columns, axis=-1)
        jacobian[~np.isfinite(jacobian).all(axis=(1, 2))] = 0
        is_regular = np.abs(np.linalg.det(jacobian)) > _LEAST_DETERMINANT
        slopes = np.full_like(jacobian, np.nan)
        slopes[is_regular] = np.linalg.inv(jacobian[is_regular])
        return slopes

    def project(self, tangents: Tensor) -> Tensor:
        """Pixels (..., 2) of points by x / z and y / z, (..., 2)."""
        return self._pixels(self._bearings(tangents))

    def unproject(self, pixels: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Tangents of the rays of pixels.

        Args:
            pixels: (N, 2).
            place: the place at STRIDE, row by row, within which they lie, (N,).

        Returns:
            x / z and y / z, (N, 2), and whether the distortion model has a ray, (N,); where it
            has none, the tangents may be anything.
        """
        if self._model == 'none':
            found = (pixels - self.centre) / self.focal
            return found, torch.ones_like(place, dtype=torch.bool)
        found, slopes = self.place_bearings[place], self.place_slopes[place]
        for _ in range(_STEPS):
            found = found + (slopes @ (pixels - self._pixels(found))[..., None])[..., 0]
        has_ray = (self._pixels(found) - pixels).norm(dim=-1) < ROUND_TRIP_TOLERANCE_PX
        if self._model == 'equidistant':
            has_ray = has_ray & (found.norm(dim=-1) < WIDEST_RAY_RAD)
        return self._tangents(found), has_ray

    def _bearings(self, tangents: Tensor) -> Tensor:
        if self._model != 'equidistant':
            return tangents
        length = tangents.norm(dim=-1, keepdim=True).clamp_min(_LEAST_LENGTH)
        return tangents * (length.atan() / length)

    def _tangents(self, bearings: Tensor) -> Tensor:
        if self._model != 'equidistant':
            return bearings
        angle = bearings.norm(dim=-1, keepdim=True).clamp_min(_LEAST_LENGTH)
        return bearings * (angle.tan() / angle)

    def _pixels(self, bearings: Tensor) -> Tensor:
        if self._model == 'equidistant':
            bearings = self._bent(bearings)
        elif self._model != 'none':
            bearings = self._distorted(bearings)
        return bearings * self.focal + self.centre

    def _distorted(self, tangents: Tensor) -> Tensor:
        """OpenCV's rational polynomial."""
        k1, k2, p1, p2, k3, k4, k5, k6 = self.coefficients.unbind()
        squared = tangents.square().sum(dim=-1, keepdim=True)
        above = 1 + squared * (k1 + squared * (k2 + squared * k3))
        below = 1 + squared * (k4 + squared * (k5 + squared * k6))
        across = torch.stack([p2, p1])
        # 2 p1 x y + p2 (r^2 + 2 x^2) = 2 x (p2 x + p1 y) + p2 r^2, and likewise for y.
        along = 2 * (tangents * across).sum(dim=-1, keepdim=True)
        return tangents * (above / below + along) + across * squared

    def _bent(self, angles: Tensor) -> Tensor:
        """OpenCV's fisheye: theta (1 + k1 theta^2 + ...) instead of theta."""
        k1, k2, k3, k4 = self.coefficients[:4].unbind()
        square = angles.square().sum(dim=-1, keepdim=True)
        return angles * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
