"""Which surface each pixel sees, how deep it lies, and where on its texture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.demo_room.lighting import Atlas
from implicit_loc_trainer.demo_room.shapes import Array, Curved, Patch, Surface

NEAR_M = 0.02
VIGNETTING = 0.28
Window = tuple[slice, slice]


class View:
    """The rays of a camera, prepared once for rendering.

    Attributes:
        rays: (h, w, 3) float32, unit depth.
        valid: Whether the distortion model has a ray for the pixel, (h, w) bool.
        ray_length: (h, w) float32.
        vignette: Brightness of each pixel, (h, w) float32.
        focal_length: Pixels.
    """

    def __init__(self, camera: Camera) -> None:
        rays = camera.rays(1)
        self.valid: NDArray[np.bool_] = np.asarray(np.isfinite(rays[..., 0]))
        self.rays = np.where(self.valid[..., None], rays, np.float32(1.0))
        self.ray_length = np.linalg.norm(self.rays, axis=-1)
        self.focal_length = float(np.sqrt(camera.fx * camera.fy))
        x, y = self.rays[..., 0], self.rays[..., 1]
        # Without distortion x depends on the column alone and y on the row: linear functions
        # of the ray then cost one addition per pixel.
        separable = bool((x == x[:1]).all() and (y == y[:, :1]).all())
        self._x, self._y = (x[:1], y[:, :1]) if separable else (x, y)
        self._separable = separable
        self._x_range = self._range(x, axis=0)
        self._y_range = self._range(y, axis=1)
        rows, columns = np.indices(x.shape, np.float32)
        middle = np.array([camera.height - 1, camera.width - 1], np.float32) / 2
        radius = np.hypot(rows - middle[0], columns - middle[1]) / np.hypot(*middle)
        self.vignette = (1.0 - VIGNETTING * radius * radius).astype(np.float32)

    def _range(self, values: Array, axis: int) -> tuple[Array, Array]:
        """Least and greatest valid value along an axis."""
        least = np.where(self.valid, values, np.inf).min(axis=axis)
        return least, np.where(self.valid, values, -np.inf).max(axis=axis)

    def window(self, low: Array, high: Array) -> Window | None:
        """Rows and columns whose rays may lie in a rectangle of x / z and y / z; None: none."""
        columns = np.flatnonzero((self._x_range[1] >= low[0]) & (self._x_range[0] <= high[0]))
        rows = np.flatnonzero((self._y_range[1] >= low[1]) & (self._y_range[0] <= high[1]))
        if not len(rows) or not len(columns):
            return None
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def linear(self, factors: Array, window: Window) -> Array:
        """Scalar product of the factors, (3,), and the ray of every pixel of a window."""
        a, b, c = factors.astype(np.float32)
        if self._separable:
            return np.asarray((a * self._x[:, window[1]] + c) + b * self._y[window[0]])
        return np.asarray(a * self._x[window] + b * self._y[window] + c)

    def dot(self, factors: Array, choice: NDArray[np.uint16]) -> Array:
        """Scalar product of factors[choice] and the ray: (N, 3), (h, w) -> (h, w)."""
        a, b, c = (factors[:, axis][choice] for axis in range(3))
        return np.asarray(a * self._x + b * self._y + c)


@lru_cache(maxsize=16)
def view_of(camera: Camera) -> View:
    """The view of a camera, computed once."""
    return View(camera)


@dataclass(frozen=True)
class Frame:
    """What every pixel sees.

    Attributes:
        depth: (h, w) float32 metres along the optical axis, 0 where nothing is seen.
        surface: Index into the scene's surfaces, (h, w) uint16.
        u: Column in the atlas at level 0, (h, w) float32.
        v: Row in the atlas at level 0, (h, w) float32.
        plane_distance: Distance of every surface's plane from the camera, (N,) float32.
        round_surfaces: Indices of the curved surfaces in view.
        edges: Pixels next to another surface, (h, w) bool.
    """

    depth: NDArray[np.float32]
    surface: NDArray[np.uint16]
    u: Array
    v: Array
    plane_distance: Array
    round_surfaces: list[int]
    edges: NDArray[np.bool_]


class Canvas:
    """Buffers with a test of inverse depth, which is linear over a plane's image."""

    def __init__(self, view: View, atlas: Atlas) -> None:
        shape = view.rays.shape[:2]
        self.inverse_depth = np.zeros(shape, np.float32)
        self.surface = np.zeros(shape, np.uint16)
        self.u, self.v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._atlas = atlas

    def put(
        self, index: int, window: Window, inverse: Array, s: Array, t: Array, seen: Array
    ) -> None:
        """Write the seen pixels of a window; s and t in [0, 1]."""
        (left, top), (columns, rows) = self._atlas.corners[index], self._atlas.sizes[index]
        np.copyto(self.inverse_depth[window], inverse, where=seen)
        self.surface[window][seen] = index
        np.copyto(self.u[window], s * columns + (left - np.float32(0.5)), where=seen)
        np.copyto(self.v[window], t * rows + (top - np.float32(0.5)), where=seen)


def rasterise(
    surfaces: tuple[Surface, ...], atlas: Atlas, view: View, world_from_camera: Array
) -> Frame:
    """Draw all surfaces with hidden-surface removal.

    Args:
        surfaces: Patches first.
        atlas: Where their textures lie.
        view: The camera.
        world_from_camera: (4, 4).
    """
    rotation, centre = world_from_camera[:3, :3], world_from_camera[:3, 3]
    canvas = Canvas(view, atlas)
    distances = np.ones(len(surfaces), np.float32)
    round_surfaces = []
    for index, surface in enumerate(surfaces):
        if isinstance(surface, Patch):
            distances[index] = (centre - surface.origin) @ surface.normal
            if distances[index] > 1e-6:
                draw_patch(canvas, index, surface, view, rotation, centre)
        elif draw_curved(canvas, index, surface, view, rotation, centre):
            round_surfaces.append(index)
            distances[index] = 0.7 * np.linalg.norm(0.5 * sum(surface.bounds) - centre)
    seen = (canvas.inverse_depth > 0.0) & view.valid
    depth = np.divide(
        np.float32(1.0), canvas.inverse_depth, where=seen, out=np.zeros_like(canvas.inverse_depth)
    )
    gradient = cv2.morphologyEx(canvas.surface, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return Frame(
        depth, canvas.surface, canvas.u, canvas.v, distances, round_surfaces, gradient > 0
    )


def draw_patch(
    canvas: Canvas, index: int, patch: Patch, view: View, rotation: Array, centre: Array
) -> None:
    """Draw one patch.

    With M = [edge_u edge_v origin] in the camera frame, a pixel's ray satisfies
    depth * ray = M (s, t, 1), hence inverse(M) ray = (s, t, 1) / depth.
    """
    columns = np.stack([patch.edge_u, patch.edge_v, patch.origin - centre], axis=1)
    matrix = rotation.T @ columns
    corners = (matrix @ [[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]]).T
    window = image_window(corners, view)
    if window is None:
        return
    inverse_matrix = np.linalg.inv(matrix)
    inverse = view.linear(inverse_matrix[2], window)
    across = view.linear(inverse_matrix[0], window)
    down = view.linear(inverse_matrix[1], window)
    seen = inverse > canvas.inverse_depth[window]
    if patch.disc:
        seen &= np.hypot(across - 0.5 * inverse, down - 0.5 * inverse) <= 0.5 * inverse
    else:
        seen &= (across >= 0.0) & (across <= inverse) & (down >= 0.0) & (down <= inverse)
    if seen.any():
        depth = 1.0 / np.where(seen, inverse, np.float32(1.0))
        canvas.put(index, window, inverse, across * depth, down * depth, seen)


def draw_curved(
    canvas: Canvas, index: int, surface: Curved, view: View, rotation: Array, centre: Array
) -> bool:
    """Draw a sphere or a cylinder; whether any of it is seen."""
    low, high = surface.bounds
    choose = np.indices((2, 2, 2)).reshape(3, -1).T
    corners = (np.where(choose, high, low) - centre) @ rotation
    window = image_window(corners, view)
    if window is None:
        return False
    x, y, z = (view.linear(row, window) for row in rotation)
    depth, s, t = surface.hit(centre, (x, y, z))
    inverse = (1.0 / depth).astype(np.float32)
    seen = inverse > canvas.inverse_depth[window]
    if seen.any():
        canvas.put(index, window, inverse, s.astype(np.float32), t.astype(np.float32), seen)
    return bool(seen.any())


def image_window(corners: Array, view: View) -> Window | None:
    """The part of the image that the convex hull of points in the camera frame may cover."""
    front = corners[:, 2] > NEAR_M
    if not front.any():
        return None
    if front.all():
        flat = corners[:, :2] / corners[:, 2:]
    else:
        # Where the hull crosses the near plane, it ends on segments between its corners.
        near, far = corners[~front][:, None], corners[front][None]
        share = (NEAR_M - near[..., 2:]) / (far[..., 2:] - near[..., 2:])
        cut = (near + share * (far - near)).reshape(-1, 3)
        flat = np.concatenate([corners[front], cut])
        flat = flat[:, :2] / flat[:, 2:]
    return view.window(flat.min(axis=0), flat.max(axis=0))
