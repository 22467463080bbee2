"""What an image would look like from a place beside it.

A robot never comes back to exactly where the recording was. The landmarks of a frame tell how far
off its surfaces are, roughly and where it matters: without texture there are no landmarks, and
no parallax to be seen either.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.spatial import QhullError

from implicit_loc.camera import Camera, cell_pixels
from implicit_loc_trainer.training.augmentation import inside_image

FloatArray = NDArray[np.float64]

# Pixels of the source image per entry of its map; landmarks lie about as far apart.
_STEP = 8

_FEWEST_LANDMARKS = 20
_LEAST_DEPTH_M = 0.05

# The search along a ray: steps, their damping, and the relative change at which it has ended.
# At the edge of a near object it never does; nothing is learned from such cells.
_STEPS = 8
_DAMPING = 0.7
_CONVERGED = 0.05


class ParallaxMap:
    """How far off the surfaces are that a frame shows.

    Depth is interpolated between landmarks as its inverse, which is linear on planes.

    Attributes:
        median_depth: metres.
    """

    def __init__(self, camera: Camera, inverse_depth: NDArray[np.float32]) -> None:
        self._camera = camera
        self._inverse_depth = inverse_depth
        self.median_depth = float(1 / np.median(inverse_depth))

    @classmethod
    def from_landmarks(
        cls, camera: Camera, world_from_camera: FloatArray, landmarks: FloatArray
    ) -> 'ParallaxMap | None':
        """The map of a frame, or None where too few landmarks lie in its image.

        Args:
            camera: of the frame.
            world_from_camera: (4, 4).
            landmarks: world points that it shows, (N, 3), metres.
        """
        seen = (landmarks - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
        seen = seen[seen[:, 2] > _LEAST_DEPTH_M]
        pixels = camera.project(seen)
        inside = inside_image(pixels, camera)
        pixels, inverse = pixels[inside], 1 / seen[inside, 2]
        if len(pixels) < _FEWEST_LANDMARKS:
            return None
        rows, columns = (range(max(1, n // _STEP)) for n in (camera.height, camera.width))
        grid = cell_pixels(rows, columns, _STEP)
        nearest = NearestNDInterpolator(pixels, inverse)(grid)
        try:
            between = LinearNDInterpolator(pixels, inverse)(grid)
        except QhullError:  # all landmarks on one line
            between = nearest
        filled = np.where(np.isfinite(between), between, nearest).astype(np.float32)
        # A single wrong landmark must not fold the image.
        smooth = cv2.GaussianBlur(cv2.medianBlur(filled, 5), (0, 0), 1.0)
        return cls(camera, np.asarray(smooth, dtype=np.float32))

    def source_points(
        self, rays: FloatArray, source_from_view: FloatArray, view_in_source: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Where the rays of a moved and turned camera meet the frame's surfaces.

        Args:
            rays: of the view, unit depth, (..., 3).
            source_from_view: rotation, (3, 3).
            view_in_source: the view's centre in the frame's camera, (3,), metres.

        Returns:
            Points in the frame's camera, (..., 3), metres, and which of them are certain, (...).
        """
        turned = rays @ source_from_view.T
        # Rays across the optical axis meet nothing that the frame shows.
        forward = np.where(np.abs(turned[..., 2]) > 0.05, turned[..., 2], 0.05)
        depth = np.full(rays.shape[:-1], self.median_depth)
        for _ in range(_STEPS):
            reach = (depth - view_in_source[2]) / forward
            points = turned * reach[..., None] + view_in_source
            before = depth
            depth = before + _DAMPING * (self._depth_at(points) - before)
        certain = (np.abs(depth - before) < _DAMPING * _CONVERGED * before) & (reach > 0)
        return points, np.asarray(certain)

    def _depth_at(self, points: FloatArray) -> FloatArray:
        """The surface's depth in the direction of points (..., 3), metres."""
        in_front = points[..., 2] > _LEAST_DEPTH_M
        pixels = self._camera.project(np.where(in_front[..., None], points, (0.0, 0.0, 1.0)))
        entries = ((pixels + 0.5) / _STEP - 0.5).astype(np.float32)
        inverse = cv2.remap(
            *(self._inverse_depth, entries[..., 0], entries[..., 1], cv2.INTER_LINEAR),
            borderMode=cv2.BORDER_REPLICATE,
        )
        return 1 / np.asarray(inverse, dtype=np.float64)
