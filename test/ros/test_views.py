"""What people look at shows the estimate that it is made of."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from builtin_interfaces.msg import Time

from implicit_loc.camera import Camera
from implicit_loc.inspection import LandmarksSeen
from implicit_loc_ros.views import View, debug_image, point_cloud

CAMERA = Camera(96, 64, 60.0, 60.0, 47.5, 31.5)
STRIDE = 8
# The camera looks along +x of the world, from (1, 2, 3).
WORLD_FROM_CAMERA = np.array([[0.0, 0, 1, 1], [-1, 0, 0, 2], [0, -1, 0, 3], [0, 0, 0, 1]])
# Twice the size of the network's input.
IMAGE = np.zeros((128, 192, 3), np.uint8)
IMAGE[:, :96] = (200, 100, 50)
IMAGE[:, 96:] = (10, 20, 30)
GREEN, MAGENTA = (0, 230, 90), (255, 0, 200)


def estimate() -> Any:
    """Every cell sees its world point where it looks, 2 m away."""
    camera_points = 2.0 * CAMERA.rays(STRIDE).astype(np.float64)
    world = camera_points @ WORLD_FROM_CAMERA[:3, :3].T + WORLD_FROM_CAMERA[:3, 3]
    weights = np.ones(world.shape[:2], np.float32)
    geometry = SimpleNamespace(
        world_points=world.astype(np.float32), depth=weights * 2, weights=weights
    )
    return SimpleNamespace(world_from_camera=WORLD_FROM_CAMERA, geometry=geometry, camera=CAMERA)


def view(shown: Any, **changes: Any) -> View:
    values = {
        'stamp': Time(sec=7),
        'frame_id': 'camera_optical',
        'image': IMAGE,
        'accepted': True,
        'verdict': 'confidence 0.97',
        'estimate': shown,
        'stride': STRIDE,
        'map_from_world': np.eye(4),
    }
    return View(**{**values, **changes})


def pixels(message: Any) -> np.ndarray:
    assert message.encoding == 'rgb8'
    assert len(message.data) == message.height * message.step
    shape = (message.height, message.width, 3)
    return np.frombuffer(message.data, np.uint8).reshape(shape).astype(int)


def points(message: Any) -> np.ndarray:
    """The cloud as a reader decodes it, by the names and offsets of its fields."""
    letters = {7: '<f4', 6: '<u4'}
    kinds = {f.name: (letters[f.datatype], f.offset) for f in message.fields}
    assert len(message.data) == message.row_step == message.point_step * message.width
    return np.frombuffer(bytes(message.data), np.dtype(kinds), message.width)


def test_landmarks_are_rings_in_the_colour_of_their_agreement() -> None:
    shown = estimate()
    # The cells leave the image as it is.
    shown.geometry.weights[:] = 0.0
    places = np.array([[20.0, 30.0], [70.0, 30.0]])
    seen = LandmarksSeen(places, np.array([True, False]))
    plain, ringed = (
        pixels(debug_image(view(shown, find_landmarks=find))) for find in (None, lambda: seen)
    )
    changed = np.argwhere((plain != ringed).any(axis=-1))
    band = ringed.shape[0] - IMAGE.shape[0]
    # Of the middle of a ring, in an image twice as large as the network's input.
    centres = [(band + 2 * y + 0.5, 2 * x + 0.5) for x, y in places]
    distances = np.array([np.linalg.norm(changed - centre, axis=1) for centre in centres])
    assert (distances.min(axis=0) < 8).all()
    for centre, colour in zip(centres, (GREEN, MAGENTA), strict=True):
        row, column = (round(value) for value in centre)
        near = ringed[row - 8 : row + 9, column - 8 : column + 9].reshape(-1, 3)
        assert np.abs(near - colour).sum(axis=1).min() < 60


def test_cells_that_agree_are_green_and_those_that_do_not_magenta() -> None:
    shown = estimate()
    shown.geometry.world_points[:4] += (0.0, 0.5, 0.0)
    shown.geometry.weights[:, :3] = 0.0
    drawn = pixels(debug_image(view(shown)))
    band = len(drawn) - len(IMAGE)
    drawn = drawn[band:]

    def tint(row: int, column: int) -> np.ndarray:
        return 0.4 * IMAGE[row, column] + 0.6 * np.array(GREEN if row >= 64 else MAGENTA)

    for row, column in ((10, 120), (100, 120), (100, 60), (127, 191)):
        assert drawn[row, column] == pytest.approx(tint(row, column), abs=2)
    assert (drawn[:, :48] == IMAGE[:, :48]).all()


def test_the_band_tells_the_verdict_by_its_colour_and_has_one_height() -> None:
    shapes = set()
    for accepted, verdict in ((True, 'short'), (False, 'a very long reason ' * 40)):
        drawn = pixels(debug_image(view(estimate(), accepted=accepted, verdict=verdict)))
        shapes.add(drawn.shape)
        red, green, _ = drawn[0, 0]
        assert (green > red) == accepted
        assert (drawn[:40].min(axis=-1) > 150).any()
    assert len(shapes) == 1


def test_an_image_without_an_estimate_is_shown_as_it_is() -> None:
    drawn = pixels(debug_image(view(None, accepted=False, verdict='alignment: \u00e9 none')))
    assert (drawn[-len(IMAGE) :] == IMAGE).all()


def test_large_images_are_shown_smaller() -> None:
    message = debug_image(view(None, image=np.zeros((1080, 1920, 3), np.uint8)))
    assert message.width == 640
    assert message.header.frame_id == 'camera_optical'
    assert message.header.stamp.sec == 7


def test_the_cloud_is_in_the_map_with_the_colours_of_the_image() -> None:
    map_from_world = np.eye(4)
    map_from_world[:3, 3] = (0.0, 0.0, 10.0)
    shown = estimate()
    message = point_cloud(view(shown, map_from_world=map_from_world), 'map')
    assert message.header.frame_id == 'map'
    assert [field.name for field in message.fields] == ['x', 'y', 'z', 'rgb', 'weight']
    cloud = points(message)
    assert len(cloud) == shown.geometry.depth.size
    assert cloud['x'] == pytest.approx(3.0, abs=1e-5)
    assert cloud['z'].mean() == pytest.approx(13.0, abs=1e-5)
    # What lies to the left of the camera has the colour of the image's left half.
    bits = cloud['rgb'].view(np.uint32)
    assert set(bits[cloud['y'] > 2]) == {200 << 16 | 100 << 8 | 50}
    assert set(bits[cloud['y'] < 2]) == {10 << 16 | 20 << 8 | 30}


def test_cells_without_weight_or_value_are_no_points() -> None:
    shown = estimate()
    shown.geometry.weights[0] = 0.0
    shown.geometry.weights[2, 0] = np.nan
    shown.geometry.world_points[1, 0] = np.nan
    message = point_cloud(view(shown), 'map')
    assert message.width == shown.geometry.depth.size - 12 - 2
    cloud = points(message)
    assert all(np.isfinite(cloud[name]).all() for name in ('x', 'y', 'z', 'weight'))
    # Neither does it hurt the picture.
    debug_image(view(shown))
    shown.geometry.weights[:] = 0.0
    assert point_cloud(view(shown), 'map').width == 0
    debug_image(view(shown))
