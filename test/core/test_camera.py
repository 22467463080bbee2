"""Rays and projection of every distortion model."""

import math

import cv2
import numpy as np
import pytest

from implicit_loc.camera import Camera, output_size
from implicit_loc.errors import CameraError

CAMERAS = {
    'none': Camera(640, 480, 525.0, 520.0, 319.5, 239.5),
    'plumb_bob': Camera(
        640, 480, 525.0, 520.0, 315.0, 242.0, 'plumb_bob', (-0.28, 0.09, 0.0007, -0.0004, -0.01)
    ),
    'plumb_bob of 4': Camera(
        640, 480, 525.0, 520.0, 315.0, 242.0, 'plumb_bob', (0.1, -0.2, 0.001, 0.002)
    ),
    'rational_polynomial': Camera(
        1280, 720, 640.0, 640.0, 640.0, 360.0, 'rational_polynomial',
        (0.8, -2.1, 0.0003, 0.0002, 1.1, 0.7, -1.9, 0.95),
    ),
    'equidistant': Camera(
        848, 800, 285.0, 286.0, 420.0, 402.0, 'equidistant', (-0.008, 0.04, -0.038, 0.006)
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', CAMERAS)
@pytest.mark.parametrize('stride', [4, 8, 16])
def test_rays_project_back_to_their_cells(name: str, stride: int) -> None:
    """OpenCV's projection of a cell's ray is the pixel that the cell looks through."""
    camera = CAMERAS[name]
    rays = camera.rays(stride).astype(np.float64)
    rows, columns = output_size(camera.width, camera.height, stride)
    assert rays.shape == (rows, columns, 3)
    seen = np.isfinite(rays).all(axis=-1)
    assert seen.mean() > (0.6 if name == 'equidistant' else 0.99)
    assert (rays[seen][:, 2] == 1).all()
    i, j = np.nonzero(seen)
    expected = np.stack([(j + 0.5) * stride - 0.5, (i + 0.5) * stride - 0.5], axis=-1)
    zero = np.zeros(3)
    project = cv2.fisheye.projectPoints if name == 'equidistant' else cv2.projectPoints
    pixels, _ = project(
        rays[seen][:, None], zero, zero, camera.matrix, np.array(camera.distortion)
    )
    # The rays are stored as float32: a twentieth of a pixel is left at the edge of a fisheye.
    np.testing.assert_allclose(pixels[:, 0], expected, atol=0.05)


@pytest.mark.parametrize('name', CAMERAS)
def test_unproject_inverts_project(name: str) -> None:
    """To a thousandth of a pixel, for points all over the image."""
    camera = CAMERAS[name]
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.5, -0.4, 1), (0.5, 0.4, 1), (200, 3)) * rng.uniform(0.5, 9, (200, 1))
    pixels = camera.project(points)
    rays = camera.unproject(pixels)
    np.testing.assert_allclose(rays, points / points[:, 2:], atol=1e-5)


def test_rays_are_cached_and_read_only() -> None:
    """The work is done once, and nobody can spoil it for others."""
    camera = CAMERAS['plumb_bob']
    assert camera.rays(8) is camera.rays(8)
    with pytest.raises(ValueError, match='read-only'):
        camera.rays(8)[0, 0, 0] = 1.0


def test_a_pixel_without_a_ray_is_not_a_number() -> None:
    """A fisheye's corner that looks backwards has no unit-depth ray."""
    camera = Camera(848, 800, 150.0, 150.0, 424.0, 400.0, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    rays = camera.rays(16)
    assert np.isnan(rays[0, 0]).all()
    assert np.isfinite(rays[25, 26]).all()


def test_a_model_that_folds_is_not_trusted_beyond_its_range() -> None:
    """Strong barrel coefficients fold the image edge; such pixels have no ray."""
    camera = Camera(640, 480, 300.0, 300.0, 319.5, 239.5, 'plumb_bob', (-0.6, 0.0, 0.0, 0.0))
    rays = camera.rays(8).astype(np.float64)
    seen = np.isfinite(rays).all(axis=-1)
    assert 0.2 < seen.mean() < 1.0
    rows, columns = np.nonzero(seen)
    expected = np.stack([columns * 8 + 3.5, rows * 8 + 3.5], axis=-1)
    np.testing.assert_allclose(camera.project(rays[seen]), expected, atol=0.2)


@pytest.mark.parametrize(
    ('focal_length', 'coefficients'),
    [(350.0, (-0.35, 0.12, 0.0, 0.0, -0.02)), (200.0, (-0.4, 0.2, 0.0, 0.0, -0.03))],
)
def test_no_ray_comes_from_beyond_the_fold(
    focal_length: float, coefficients: tuple[float, ...]
) -> None:
    """There a second radius reaches the same pixel, and even both signs turn round."""
    camera = Camera(640, 480, focal_length, focal_length, 319.5, 239.5, 'plumb_bob', coefficients)
    radius = np.linspace(0.0, 20.0, 200_001)
    k1, k2, _, _, k3 = coefficients
    reach = radius * (1 + k1 * radius**2 + k2 * radius**4 + k3 * radius**6)
    fold = radius[np.argmax(np.diff(reach) < 0)]
    rays = camera.rays(8)
    seen = np.isfinite(rays).all(axis=-1)
    assert seen.any()
    assert np.linalg.norm(rays[seen][:, :2], axis=-1).max() <= fold


def test_scaling_keeps_rays() -> None:
    """A resized image shows the same directions: its corner stays, not its first centre."""
    camera = CAMERAS['plumb_bob']
    half = camera.scaled(320, 240)
    np.testing.assert_allclose(half.rays(4), camera.rays(8), atol=1e-5)
    assert half.cx == pytest.approx((camera.cx + 0.5) / 2 - 0.5)
    stretched = camera.scaled(640, 240)
    assert stretched.fx == camera.fx
    assert stretched.fy == camera.fy / 2


def test_cropping_keeps_rays() -> None:
    """A window shows the directions of the pixels that it has kept."""
    camera = CAMERAS['none']
    window = camera.cropped(left=64, top=32, width=320, height=240)
    np.testing.assert_allclose(window.rays(8), camera.rays(8)[4:34, 8:48], atol=1e-6)
    with pytest.raises(CameraError, match='leaves the image'):
        camera.cropped(left=400, top=0, width=320, height=240)


def test_odd_sizes_round_up() -> None:
    """A partial cell at the border is a cell."""
    assert output_size(641, 479, 8) == (60, 81)
    assert Camera(641, 479, 500, 500, 320, 240).rays(8).shape == (60, 81, 3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 480, 525, 525, 320, 240), 'size'),
        ((640, 480, 0.0, 0.0, 0.0, 0.0), 'not calibrated'),
        ((640, 480, -525, 525, 320, 240), 'not calibrated'),
        ((640, 480, math.nan, 525, 320, 240), 'not finite'),
        ((640, 480, 525, 525, math.inf, 240), 'not finite'),
        ((640, 480, 525, 525, 320, 240, 'thin_prism', (0.0,)), 'not known'),
        ((640, 480, 525, 525, 320, 240, 'plumb_bob', (0.1, 0.2)), '4 or 5 coefficients, 2'),
        ((640, 480, 525, 525, 320, 240, 'none', (0.1,)), '0 coefficients, 1'),
        ((640, 480, 525, 525, 320, 240, 'equidistant', (0.1, 0, 0, math.nan)), 'not finite'),
    ],
)
def test_a_malformed_camera_is_refused(arguments: tuple, message: str) -> None:
    """Each with what was found."""
    with pytest.raises(CameraError, match=message):
        Camera(*arguments)
