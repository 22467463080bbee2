"""A training view stays consistent: what a known point looked like, it looks like afterwards."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import (
    View,
    ViewChange,
    random_view_change,
    render_view,
)

CAMERAS = {
    'none': Camera(320, 240, 262.0, 262.0, 161.0, 118.0),
    'unequal focal lengths': Camera(320, 240, 290.0, 240.0, 150.0, 125.0),
    'plumb_bob': Camera(
        320, 240, 262.0, 262.0, 161.0, 118.0, 'plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.0)
    ),
    'equidistant': Camera(
        320, 240, 200.0, 200.0, 159.5, 119.5, 'equidistant', (-0.02, 0.01, -0.004, 0.0)
    ),
}


def _pose() -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix()
    pose[:3, 3] = (1.0, -2.0, 0.5)
    return pose


def _project(
    camera: Camera, world_from_camera: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    rotation, translation = world_from_camera[:3, :3], world_from_camera[:3, 3]
    return camera.project((points - translation) @ rotation)


def _blobs(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An image with a soft white dot at each pixel."""
    y, x = np.mgrid[: camera.height, : camera.width]
    image = np.zeros((camera.height, camera.width))
    for u, v in pixels:
        image += 250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8.0)
    grey = np.clip(image, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _centroid(image: NDArray[np.uint8], pixel: NDArray[np.float64]) -> NDArray[np.float64]:
    left, top = np.round(pixel).astype(int) - 10
    window = image[top : top + 21, left : left + 21, 0].astype(float)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    total = window.sum()
    return np.array([left + (x * window).sum() / total, top + (y * window).sum() / total])


@pytest.mark.parametrize('name', CAMERAS)
@pytest.mark.parametrize('zoom', [2 / 3, 1.0, 1.5])
def test_known_points_reproject_into_the_view(name: str, zoom: float) -> None:
    """Image, pose and zoomed camera agree: dots appear where the new pose projects them."""
    camera, pose = CAMERAS[name], _pose()
    change = ViewChange(Rotation.from_euler('zyx', [25, -8, 6], degrees=True).as_matrix(), zoom)
    offsets = np.array([[-0.25, -0.15], [0.2, -0.1], [0.05, 0.2], [-0.1, 0.05]])
    in_camera = np.concatenate([offsets, np.ones((4, 1))], axis=1) * [[2.0], [3.0], [1.5], [4.0]]
    points = in_camera @ pose[:3, :3].T + pose[:3, 3]
    image = _blobs(camera, _project(camera, pose, points))
    view = render_view(image, camera, camera, pose, change, stride=8)
    zoomed = Camera(
        camera.width, camera.height, camera.fx * zoom, camera.fy * zoom, camera.cx, camera.cy,
        camera.distortion_model, camera.distortion,
    )  # fmt: skip
    expected = _project(zoomed, view.world_from_camera, points)
    inside = ((expected > 14) & (expected < (camera.width - 14, camera.height - 14))).all(axis=1)
    assert inside.sum() >= 2
    for pixel in expected[inside]:
        np.testing.assert_allclose(_centroid(view.image, pixel), pixel, atol=0.15)


@pytest.mark.parametrize('name', CAMERAS)
def test_cells_keep_their_world_direction(name: str) -> None:
    """The ray of a cell, turned into the world, is the source's ray at the pixel it shows."""
    camera, pose = CAMERAS[name], _pose()
    ramp = np.zeros((camera.height, camera.width, 3), np.uint8)
    ramp[..., 0] = np.arange(camera.width) * 255 // camera.width
    ramp[..., 1] = (np.arange(camera.height) * 255 // camera.height)[:, None]
    change = ViewChange(Rotation.from_euler('zyx', [-20, 5, 9], degrees=True).as_matrix(), 1.2)
    view = render_view(ramp, camera, camera, pose, change, stride=8)
    rows, columns = np.nonzero(view.valid)
    directions = view.rays[rows, columns] @ view.world_from_camera[:3, :3].T
    source = camera.project(directions @ pose[:3, :3])
    shown = cv2.blur(view.image, (2, 2), anchor=(0, 0))[rows * 8 + 3, columns * 8 + 3]
    deep = ((source > 3) & (source < (camera.width - 4, camera.height - 4))).all(axis=1)
    assert deep.sum() > 300
    np.testing.assert_allclose(shown[deep, 0], source[deep, 0] * 255 / camera.width, atol=2)
    np.testing.assert_allclose(shown[deep, 1], source[deep, 1] * 255 / camera.height, atol=2)


def test_no_change_gives_the_source() -> None:
    """The identity keeps image, pose and rays."""
    camera, pose = CAMERAS['none'], _pose()
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    view = render_view(image, camera, camera, pose, ViewChange(np.eye(3), 1.0), stride=8)
    assert np.abs(view.image.astype(int) - image).max() <= 1
    assert view.valid.all()
    np.testing.assert_allclose(view.rays, camera.rays(8), atol=1e-6)
    np.testing.assert_array_equal(view.world_from_camera, pose)


def test_cells_outside_of_the_source_are_not_valid() -> None:
    """A view that looks half past the source says which cells show it."""
    camera = CAMERAS['none']
    image = np.full((240, 320, 3), 200, np.uint8)
    turn = Rotation.from_euler('y', 30, degrees=True).as_matrix()
    view: View = render_view(image, camera, camera, np.eye(4), ViewChange(turn, 1.0), stride=8)
    source = camera.project(camera.rays(8).astype(float) @ turn.T)
    expected = ((source > -0.5) & (source < (319.5, 239.5))).all(axis=-1)
    assert 0.2 < expected.mean() < 0.8
    np.testing.assert_array_equal(view.valid, expected)


def test_ignored_pixels_teach_nothing() -> None:
    """A masked half of the source stays masked in a view that is turned by half a turn."""
    camera = Camera(320, 240, 262.0, 262.0, 159.5, 119.5)
    image = np.full((240, 320, 3), 200, np.uint8)
    ignored = np.zeros((240, 320), bool)
    ignored[:, :160] = True
    half_turn = ViewChange(Rotation.from_euler('z', 180, degrees=True).as_matrix(), 1.0)
    view = render_view(image, camera, camera, np.eye(4), half_turn, 8, ignored)
    assert view.valid[:, :20].all()
    assert not view.valid[:, 20:].any()


def test_random_changes_are_reproducible_and_within_limits() -> None:
    """The same generator state gives the same view; limits are kept; zero switches off."""
    config = AugmentationConfig()
    first = random_view_change(config, np.random.default_rng([1, 2, 3]))
    second = random_view_change(config, np.random.default_rng([1, 2, 3]))
    np.testing.assert_array_equal(first.source_from_view, second.source_from_view)
    assert first.zoom == second.zoom
    zooms = [random_view_change(config, np.random.default_rng(i)).zoom for i in range(200)]
    assert min(zooms) >= 1 / config.zoom
    assert max(zooms) <= config.zoom
    off = AugmentationConfig(roll_deg=0, tilt_deg=0, zoom=1)
    still = random_view_change(off, np.random.default_rng(0))
    np.testing.assert_allclose(still.source_from_view, np.eye(3), atol=1e-15)
    assert still.zoom == 1


@pytest.mark.parametrize('share', [0.45, 0.4])
def test_a_low_passed_view_looks_like_an_image_resized_for_the_robot(share: float) -> None:
    """Nearer to resizing by averages than without, where a view shrinks fine texture."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (240, 320), np.uint8), (640, 480))
    image = np.repeat(texture[..., None], 3, axis=2)
    source = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    small = source.scaled(round(640 * share), round(480 * share))
    expected = preprocessing.resize(image, small.width, small.height).astype(float)

    def difference(low_pass: bool) -> float:
        still = ViewChange(np.eye(3), 1.0)
        view = render_view(image, source, small, np.eye(4), still, 8, low_pass=low_pass)
        inner = (slice(3, -3), slice(3, -3))
        return float(np.abs(view.image.astype(float) - expected)[inner].mean())

    assert difference(low_pass=True) < 0.7 * difference(low_pass=False)


def test_the_low_pass_leaves_enlarged_views_alone() -> None:
    camera = CAMERAS['none']
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    change = ViewChange(np.eye(3), 1.2)
    views = [
        render_view(image, camera, camera, _pose(), change, 8, low_pass=low_pass).image
        for low_pass in (False, True)
    ]
    np.testing.assert_array_equal(*views)
