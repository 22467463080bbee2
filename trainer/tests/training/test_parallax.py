"""A view from beside the recording shows known points where the moved camera would see them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import (
    ViewChange,
    random_view_change,
    render_view,
)
from implicit_loc_trainer.training.parallax import ParallaxMap

CAMERAS = {
    'none': Camera(320, 240, 262.0, 262.0, 161.0, 118.0),
    'plumb_bob': Camera(
        320, 240, 262.0, 262.0, 161.0, 118.0, 'plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.0)
    ),
    'equidistant': Camera(
        320, 240, 200.0, 200.0, 159.5, 119.5, 'equidistant', (-0.02, 0.01, -0.004, 0.0)
    ),
}
POSE = np.eye(4)
POSE[:3, :3] = Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix()
POSE[:3, 3] = (1.0, -2.0, 0.5)
# A wall that leans away from the camera: normal . p = distance.
NORMAL, DISTANCE = np.array([0.35, -0.1, 0.93]), 2.4


def _on_wall(rays: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where rays of unit depth meet the wall, in the camera's frame."""
    return rays * (DISTANCE / (rays @ NORMAL))[..., None]


def _wall_landmarks(camera: Camera, wrong: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(4)
    pixels = rng.uniform((2, 2), (camera.width - 3, camera.height - 3), (400, 2))
    seen = _on_wall(camera.unproject(pixels))
    seen[:wrong] *= 3.0
    return seen @ POSE[:3, :3].T + POSE[:3, 3]


def _dots(camera: Camera, pixels: NDArray[np.float64]) -> NDArray[np.uint8]:
    y, x = np.mgrid[: camera.height, : camera.width]
    grey = sum(250 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8.0) for u, v in pixels)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _centroid(image: NDArray[np.uint8], pixel: NDArray[np.float64]) -> NDArray[np.float64]:
    left, top = np.round(pixel).astype(int) - 10
    window = image[top : top + 21, left : left + 21, 0].astype(float)
    y, x = np.mgrid[:21, :21]
    return np.array([left, top]) + [(x * window).sum(), (y * window).sum()] / window.sum()


@pytest.mark.parametrize('name', CAMERAS)
@pytest.mark.parametrize('wrong', [0, 4])
def test_known_points_move_by_their_parallax(name: str, wrong: int) -> None:
    """Dots on a wall appear where the moved camera sees them; a rotation alone misses by far."""
    camera = CAMERAS[name]
    pixels = np.array([[90.0, 70.0], [220.0, 80.0], [160.0, 120.0], [110.0, 170.0], [230, 165]])
    world = _on_wall(camera.unproject(pixels)) @ POSE[:3, :3].T + POSE[:3, 3]
    surfaces = ParallaxMap.from_landmarks(camera, POSE, _wall_landmarks(camera, wrong))
    assert surfaces is not None
    turn = Rotation.from_euler('zyx', [12, -5, 4], degrees=True).as_matrix()
    change = ViewChange(turn, 1.0, (0.08, -0.06, 0.04))
    view = render_view(
        _dots(camera, pixels), camera, camera, POSE, change, stride=8, surfaces=surfaces
    )
    centre = view.world_from_camera[:3, 3]
    expected_move = surfaces.median_depth * np.linalg.norm(change.move)
    assert np.linalg.norm(centre - POSE[:3, 3]) == pytest.approx(expected_move)
    expected = camera.project((world - centre) @ view.world_from_camera[:3, :3])
    unmoved = camera.project((world - POSE[:3, 3]) @ view.world_from_camera[:3, :3])
    inside = ((expected > 14) & (expected < (305, 225))).all(axis=1)
    assert inside.sum() >= 3
    assert np.linalg.norm(expected - unmoved, axis=1).min() > 5
    for pixel in expected[inside]:
        np.testing.assert_allclose(_centroid(view.image, pixel), pixel, atol=0.6)
    assert view.valid.mean() > 0.5


def test_cells_behind_an_edge_teach_nothing() -> None:
    """What a near object hides from the recording is not there to be learned."""
    camera = CAMERAS['none']
    inverse_depth = np.full((30, 40), 1 / 4.0, np.float32)
    inverse_depth[:, 20:] = 1.0
    surfaces = ParallaxMap(camera, inverse_depth)
    rays = camera.rays(8).astype(np.float64)
    points, certain = surfaces.source_points(rays, np.eye(3), np.array([-0.5, 0.0, 0.0]))
    # A move to the left opens a gap of f * 0.5 (1/1 - 1/4) = 98 px beside the near half.
    assert 0.15 < 1 - certain.mean() < 0.5
    near, far = certain & (points[..., 2] < 2), certain & (points[..., 2] > 3)
    assert near.any()
    assert far.any()
    np.testing.assert_allclose(points[near][:, 2], 1.0, rtol=0.06)
    np.testing.assert_allclose(points[far][:, 2], 4.0, rtol=0.06)


@pytest.mark.parametrize('landmarks', [np.empty((0, 3)), _wall_landmarks(CAMERAS['none'])[:19]])
def test_without_landmarks_nothing_moves(landmarks: NDArray[np.float64]) -> None:
    """Too few landmarks give no map, and a view without one stays where its source is."""
    camera = CAMERAS['none']
    assert ParallaxMap.from_landmarks(camera, POSE, landmarks) is None
    image = np.full((240, 320, 3), 200, np.uint8)
    change = ViewChange(np.eye(3), 1.0, (0.1, 0.0, 0.0))
    view = render_view(image, camera, camera, POSE, change, stride=8, surfaces=None)
    np.testing.assert_array_equal(view.world_from_camera, POSE)


def test_landmarks_on_a_line_give_a_map() -> None:
    """Nothing can be interpolated across a line: the nearest landmark counts."""
    camera = CAMERAS['none']
    pixels = np.stack([np.linspace(20, 300, 40), np.full(40, 100.0)], axis=-1)
    world = _on_wall(camera.unproject(pixels)) @ POSE[:3, :3].T + POSE[:3, 3]
    surfaces = ParallaxMap.from_landmarks(camera, POSE, world)
    assert surfaces is not None
    assert 1.5 < surfaces.median_depth < 4.0


def test_moves_keep_their_limit_and_can_be_switched_off() -> None:
    """No view is farther off than asked for; without moves the other numbers stay the same."""
    config, still = AugmentationConfig(move=0.2), AugmentationConfig()
    for seed in range(100):
        moved = random_view_change(config, np.random.default_rng(seed))
        unmoved = random_view_change(still, np.random.default_rng(seed))
        assert 0 < np.linalg.norm(moved.move) <= 0.2
        assert unmoved.move == (0.0, 0.0, 0.0)
        np.testing.assert_array_equal(moved.source_from_view, unmoved.source_from_view)
        assert moved.zoom == unmoved.zoom
