"""What an estimate says about single cells."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.inspection import cell_centres, landmarks_seen, reprojection_angles

CAMERA = Camera(96, 64, 60.0, 60.0, 47.5, 31.5)
STRIDE = 8
WORLD_FROM_CAMERA = np.eye(4)
WORLD_FROM_CAMERA[:3, :3] = Rotation.from_euler('xyz', (0.3, -1.0, 2.0)).as_matrix()
WORLD_FROM_CAMERA[:3, 3] = (5.0, -2.0, 1.0)


def estimate(camera_points: np.ndarray) -> Any:
    world = camera_points @ WORLD_FROM_CAMERA[:3, :3].T + WORLD_FROM_CAMERA[:3, 3]
    geometry = SimpleNamespace(world_points=world.astype(np.float32), depth=world[..., 2])
    return SimpleNamespace(
        world_from_camera=WORLD_FROM_CAMERA,
        geometry=geometry,
        camera=CAMERA,
        landmarks_found=None,
    )


def test_a_point_on_the_ray_of_its_cell_has_no_error() -> None:
    points = CAMERA.rays(STRIDE) * np.linspace(0.5, 20, 96).reshape(8, 12, 1)
    assert reprojection_angles(estimate(points), STRIDE).max() < 1e-5


@pytest.mark.parametrize('angle', [1e-3, 0.2, 2.0, np.pi])
def test_the_error_is_the_angle_by_which_a_point_is_off(angle: float) -> None:
    rays = CAMERA.rays(STRIDE).astype(np.float64)
    # About an axis across each ray.
    across = np.cross(rays, (0.0, 1.0, 0.0))
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    turned = Rotation.from_rotvec(angle * across.reshape(-1, 3)).apply(rays.reshape(-1, 3))
    found = reprojection_angles(estimate(3.0 * turned.reshape(rays.shape)), STRIDE)
    assert found == pytest.approx(angle, abs=1e-5)


def test_what_is_not_finite_has_no_angle() -> None:
    points = 2.0 * CAMERA.rays(STRIDE)
    points[3, 4] = np.nan
    missing = np.isnan(reprojection_angles(estimate(points), STRIDE))
    assert np.argwhere(missing).tolist() == [[3, 4]]


def test_cells_look_through_the_pixels_of_the_image_at_its_own_size() -> None:
    centres = cell_centres(estimate(CAMERA.rays(STRIDE)), STRIDE, 192, 128)
    assert centres.shape == (8, 12, 2)
    # The camera of the large image has the same rays through these pixels.
    large = CAMERA.scaled(192, 128)
    x, y = centres[5, 7]
    ray = ((x - large.cx) / large.fx, (y - large.cy) / large.fy)
    assert ray == pytest.approx(tuple(CAMERA.rays(STRIDE)[5, 7, :2]), abs=1e-6)


@pytest.mark.parametrize('wrong', [0.0, 0.4])
def test_landmarks_are_seen_where_they_are_and_those_elsewhere_do_not_agree(
    make_place: Any, wrong: float
) -> None:
    place = make_place(wrong=wrong)
    geometry = SimpleNamespace(descriptors=place.sight.descriptors)
    pose, camera = place.world_from_camera[0].numpy(), place.sight.camera
    shown: Any = SimpleNamespace(
        world_from_camera=pose, geometry=geometry, camera=camera, landmarks_found=None
    )
    seen = landmarks_seen(shown, place.sight.landmarks)
    assert seen.agree.mean() == pytest.approx(1.0 - wrong, abs=0.15)
    nearest = np.linalg.norm(seen.pixels[:, None] - place.pixels, axis=-1).min(axis=1)
    assert np.median(nearest[seen.agree]) < 0.5
    geometry.descriptors = None
    assert not len(landmarks_seen(shown, place.sight.landmarks).agree)


def test_what_a_gpu_has_found_is_not_looked_for_again() -> None:
    shown: Any = SimpleNamespace(landmarks_found=np.array([[3.0, 4.0, 1.0], [5.0, 6.5, 0.0]]))
    nothing: Any = None
    seen = landmarks_seen(shown, nothing)
    assert seen.pixels.tolist() == [[3.0, 4.0], [5.0, 6.5]]
    assert seen.agree.tolist() == [True, False]
