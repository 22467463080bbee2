"""Training views: each image seen by a camera that is turned, zoomed and moved.

A rotation about the optical centre changes the image without knowing any depth, so image, rays
and pose stay exactly consistent. In-plane rotation (the paper's augmentation), tilting and zoom
are one mapping here, for every distortion model. A move needs the depth of what is seen.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera, cell_pixels, output_size
from implicit_loc_trainer.recipes.sections import AugmentationConfig

FloatArray = NDArray[np.float64]
ByteImage = NDArray[np.uint8]


def _no_landmarks() -> NDArray[np.float32]:
    return np.empty((0, 6), dtype=np.float32)


@dataclass(frozen=True)
class View:
    """One training view.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        rays: unit-depth ray of every output cell, (h, w, 3) float32.
        valid: cells that look at pixels of the source image, (h, w).
        focal_length: pixels.
        world_from_camera: (4, 4).
        frame: number of the frame in its recording.
        has_orientation: whether the rotation of world_from_camera is known.
        landmarks: the view's pixel, the world point and the depth of landmarks in it, (N, 6):
            u, v, x, y, z, depth; rows of depth 0 are empty.
    """

    image: ByteImage
    rays: NDArray[np.float32]
    valid: NDArray[np.bool_]
    focal_length: float
    world_from_camera: FloatArray
    frame: int = -1
    has_orientation: bool = True
    landmarks: NDArray[np.float32] = field(default_factory=_no_landmarks)


@dataclass(frozen=True)
class ViewChange:
    """A rotation, zoom and move of the camera.

    Attributes:
        source_from_view: rotation, (3, 3).
        zoom: the view's focal length over the source's.
        move: of the camera's centre in the source's frame, (3,), as shares of the source's
            median depth; nothing moves where the depth is not known.
    """

    source_from_view: FloatArray
    zoom: float
    move: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Surfaces(Protocol):
    """How far off the surfaces are that a frame shows (see parallax.ParallaxMap)."""

    @property
    def median_depth(self) -> float:
        """Metres."""

    def source_points(
        self, rays: FloatArray, source_from_view: FloatArray, view_in_source: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Where the rays of another camera meet them, and which of these points are certain."""


def random_view_change(config: AugmentationConfig, rng: np.random.Generator) -> ViewChange:
    """Draw a rotation, a zoom and a move."""
    angles = rng.uniform(-1, 1, 3) * (config.tilt_deg, config.tilt_deg, config.roll_deg)
    rotation = Rotation.from_euler('zyx', angles[::-1], degrees=True).as_matrix()
    zoom = float(np.exp(rng.uniform(-1, 1) * np.log(config.zoom)))
    if not config.move:
        # A recipe without moves draws the same numbers as before there were any.
        return ViewChange(rotation, zoom)
    direction = rng.normal(size=3)
    # The root: as many views near the largest distance as in a disc.
    distance = config.move * np.sqrt(rng.uniform())
    x, y, z = distance * direction / np.linalg.norm(direction)
    return ViewChange(rotation, zoom, (float(x), float(y), float(z)))


def render_view(
    source: ByteImage,
    source_camera: Camera,
    view_camera: Camera,
    world_from_source: FloatArray,
    change: ViewChange,
    stride: int,
    ignored: NDArray[np.bool_] | None = None,
    low_pass: bool = False,
    surfaces: Surfaces | None = None,
) -> View:
    """See the source image through a turned, zoomed and moved camera.

    Args:
        source: (Hs, Ws, 3), of the size of source_camera.
        source_camera: its intrinsics.
        view_camera: the camera of the view before the zoom: size of the network's input.
        world_from_source: pose of the source, (4, 4).
        change: what to apply.
        stride: of the network's output.
        ignored: pixels of the source that teach nothing, (Hs, Ws); None = none.
        low_pass: blur a source that the view shrinks, as resizing by averages would.
        surfaces: that the source shows; None = not known, the view is not moved.
    """
    camera = zoomed(view_camera, change.zoom)
    if low_pass:
        source = _averaged(source, source_camera.focal_length / camera.focal_length)
    rows, columns = output_size(camera.width, camera.height, stride)
    # One ring of cells around the image, so that the map can be interpolated up to its border.
    ring_pixels = cell_pixels(range(-1, rows + 1), range(-1, columns + 1), stride)
    rays = camera.unproject(ring_pixels)
    source_rays, certain, moved_by = _source_rays(rays, change, surfaces)
    in_front = source_rays[..., 2] > 0.05
    source_pixels = source_camera.project(
        np.where(in_front[..., None], np.nan_to_num(source_rays), (0.0, 0.0, 1.0))
    )
    inside = inside_image(source_pixels, source_camera) & in_front & certain
    source_pixels[~in_front] = -1e4
    image = _remap(source, source_pixels, camera, stride)
    world_from_view = world_from_source.copy()
    world_from_view[:3, :3] = world_from_source[:3, :3] @ change.source_from_view
    world_from_view[:3, 3] += world_from_source[:3, :3] @ moved_by
    valid = inside[1:-1, 1:-1]
    if ignored is not None:
        column, row = np.round(source_pixels[1:-1, 1:-1]).astype(int).transpose(2, 0, 1)
        limits = (source_camera.height - 1, source_camera.width - 1)
        valid &= ~ignored[np.clip(row, 0, limits[0]), np.clip(column, 0, limits[1])]
    return View(
        image=image,
        rays=np.where(valid[..., None], rays[1:-1, 1:-1], (0.0, 0.0, 1.0)).astype(np.float32),
        valid=valid,
        focal_length=camera.focal_length,
        world_from_camera=world_from_view,
    )


def _source_rays(
    rays: FloatArray, change: ViewChange, surfaces: Surfaces | None
) -> tuple[FloatArray, NDArray[np.bool_], FloatArray]:
    """The view's rays in the source's frame, which are certain, and the move in metres (3,)."""
    known = np.asarray(np.isfinite(rays).all(axis=-1))
    if surfaces is None or not any(change.move):
        return rays @ change.source_from_view.T, known, np.zeros(3)
    moved_by = surfaces.median_depth * np.array(change.move)
    points, certain = surfaces.source_points(
        np.nan_to_num(rays), change.source_from_view, moved_by
    )
    return points, known & certain, moved_by


def zoomed(camera: Camera, zoom: float) -> Camera:
    """The camera with its focal length times the zoom."""
    return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom)


def _averaged(source: ByteImage, shrinks_by: float) -> ByteImage:
    """Blur so that sampling every `shrinks_by` pixels looks like averaging over them.

    A box of s pixels has the variance s^2 / 12, of which the source's own pixels bring one
    twelfth and interpolating between them about another.
    """
    variance = (shrinks_by**2 - 2) / 12
    if variance <= 0:
        return source
    return np.asarray(cv2.GaussianBlur(source, (0, 0), variance**0.5), dtype=np.uint8)


def inside_image(pixels: FloatArray, camera: Camera) -> NDArray[np.bool_]:
    """Whether pixels (..., 2) lie in the image."""
    limits = (camera.width - 0.5, camera.height - 0.5)
    return np.asarray(((pixels > -0.5) & (pixels < limits)).all(axis=-1))


def _remap(source: ByteImage, pixels: FloatArray, camera: Camera, stride: int) -> ByteImage:
    """Sample the source at pixels known per cell (with a ring of cells around)."""
    rows, columns = pixels.shape[:2]
    # The mapping is smooth: between cells it is linear to a few hundredths of a pixel.
    dense = cv2.resize(
        pixels.astype(np.float32),
        (columns * stride, rows * stride),
        interpolation=cv2.INTER_LINEAR,
    )
    window = dense[stride : stride + camera.height, stride : stride + camera.width]
    # Mirrored rather than black: pooled features and batch statistics stay those of whole images.
    warped = cv2.remap(source, window, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, dtype=np.uint8)
