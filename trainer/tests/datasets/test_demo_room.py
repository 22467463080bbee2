"""The demo room: exact geometry, the same bytes at every run, flights that keep their distance."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import demo_room as reader
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.demo_room import demo_room, flights
from implicit_loc_trainer.demo_room.scene import ROOM, build_scene

CAMERA = Camera(width=320, height=240, fx=262.5, fy=262.5, cx=159.5, cy=119.5)
DISTORTED = {
    'plumb_bob': (-0.28, 0.09, 0.001, -0.0005, 0.0),
    'equidistant': (-0.02, 0.004, -0.001, 0.0002),
}
Matrix = NDArray[np.float64]


@pytest.fixture(scope='module', autouse=True)
def rendered_once() -> None:
    """Not in this file: whether every load renders the same is what it asks."""


def looking(
    position: tuple[float, float, float], yaw_deg: float, pitch_deg: float = 0.0
) -> Matrix:
    pose = np.eye(4)
    angles = (np.radians([value]) for value in (yaw_deg, pitch_deg, 0.0))
    pose[:3, :3] = flights.gaze(*angles)[0]
    pose[:3, 3] = position
    return pose


def distorted(model: str) -> Camera:
    return Camera(**{**vars(CAMERA), 'distortion_model': model, 'distortion': DISTORTED[model]})


def digest(frame: int) -> str:
    sample = reader.read(Path(reader.NAME), 'test')[frame]
    assert sample.load_depth is not None
    content = sample.load_image().tobytes() + sample.load_depth().tobytes()
    return hashlib.sha256(content).hexdigest()


def world_points(pose: Matrix, camera: Camera, depth: NDArray[np.float32]) -> Matrix:
    """World points of all pixels, (h, w, 3)."""
    return (camera.rays(1) * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]


def test_frames_are_the_same_in_another_process() -> None:
    program = 'import test_demo_room; print(test_demo_room.digest(40))'
    paths = [str(Path(__file__).parent), *sys.path]
    output = subprocess.run(
        [sys.executable, '-c', program],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert digest(40) == digest(40) == output.strip()


def test_noise_depends_on_the_seed_and_geometry_does_not() -> None:
    pose = looking((0.0, -1.2, 1.3), 90.0)
    first, depth = demo_room().render(pose, CAMERA, 1)
    second, same_depth = demo_room().render(pose, CAMERA, 2)
    assert (first != second).any()
    assert np.abs(first.astype(int) - second).mean() < 15.0
    np.testing.assert_array_equal(depth, same_depth)


def test_image_and_depth_have_the_size_of_the_camera() -> None:
    rgb, depth = demo_room().render(looking((0.0, 1.2, 1.3), -90.0), CAMERA, 0)
    assert rgb.shape == (240, 320, 3)
    assert rgb.dtype == np.uint8
    assert depth.shape == (240, 320)
    assert depth.dtype == np.float32


def test_a_wall_is_as_far_as_it_stands() -> None:
    # Above the desk nothing stands before the east wall at x = 3.
    _, depth = demo_room().render(looking((1.0, 0.4, 1.7), 0.0), CAMERA, 0)
    np.testing.assert_allclose(depth[100:120, 100:220], 2.0, atol=1e-5)


@pytest.mark.parametrize('model', ['none', *DISTORTED])
def test_every_pixel_lies_on_a_surface(model: str) -> None:
    camera = CAMERA if model == 'none' else distorted(model)
    pose = looking((-1.5, -1.0, 1.4), 35.0, -12.0)
    _, depth = demo_room().render(pose, camera, 0)
    assert (depth > 0.0).all()
    points = world_points(pose, camera, depth).reshape(-1, 3)
    on_rug = np.abs(points[:, 2] - 0.004) < 1e-4
    assert np.abs(build_scene().clearance(points)[~on_rug]).max() < 1e-4


@pytest.mark.parametrize('model', ['none', *DISTORTED])
def test_depth_of_one_frame_predicts_another(model: str) -> None:
    camera = CAMERA if model == 'none' else distorted(model)
    here, there = looking((-1.5, -1.0, 1.4), 35.0, -12.0), looking((-1.2, -1.1, 1.5), 50.0, -8.0)
    _, depth = demo_room().render(here, camera, 0)
    _, seen = demo_room().render(there, camera, 0)
    points = (world_points(here, camera, depth) - there[:3, 3]) @ there[:3, :3]
    points = points[points[..., 2] > 0.1]
    pixels = np.rint(camera.project(points)).astype(int)
    inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=-1)
    points, pixels = points[inside], pixels[inside]
    assert len(points) > 30_000
    found = seen[pixels[:, 1], pixels[:, 0]]
    # A pixel's rounding moves the depth a little on slanted surfaces; a point that another
    # thing hides lies behind what is seen, and none lies clearly in front of it.
    agree = np.abs(found / points[:, 2] - 1.0) < 0.02
    assert agree.mean() > 0.85
    assert (points[:, 2] < 0.9 * found).mean() < 0.01


def test_images_agree_where_they_see_the_same() -> None:
    # Texture sticks to the surface: colours found by reprojection match, shuffled ones do not.
    here, there = looking((0.3, -1.1, 1.4), 95.0), looking((0.1, -1.0, 1.45), 90.0)
    first, depth = demo_room().render(here, CAMERA, 0)
    second, seen = demo_room().render(there, CAMERA, 1)
    points = (world_points(here, CAMERA, depth) - there[:3, 3]) @ there[:3, :3]
    pixels = np.rint(CAMERA.project(points)).astype(int)
    inside = ((pixels >= 0) & (pixels < [CAMERA.width, CAMERA.height])).all(axis=-1)
    pixels, z = pixels[inside], points[inside][:, 2]
    visible = np.abs(seen[pixels[:, 1], pixels[:, 0]] - z) < 0.01
    there_colours = second[pixels[:, 1], pixels[:, 0]][visible].astype(float)
    here_colours = first[inside][visible].astype(float)
    error = np.median(np.abs(here_colours - there_colours))
    assert error < 12.0
    assert np.median(np.abs(here_colours - np.roll(there_colours, 777, axis=0))) > 2.5 * error


def test_the_table_hides_the_floor() -> None:
    _, depth = demo_room().render(looking((0.1, -1.2, 1.5), 90.0, -34.0), CAMERA, 0)
    # The optical axis meets the table's top, 0.75 m below, long before the floor at 2.7 m.
    np.testing.assert_allclose(depth[120, 160], 0.75 / np.sin(np.radians(34.0)), atol=0.01)


def test_highlights_move_with_the_camera() -> None:
    # The same spots of the south wall look different from two places: light depends on the
    # view. Poses are exact, so a mere texture would give equal colours.
    across, up = np.meshgrid(np.linspace(0.1, 1.5, 60), np.linspace(1.6, 2.2, 20))
    spots = np.stack([across, np.full_like(across, -2.5), up], axis=-1).reshape(-1, 3)
    brightness = []
    for pose in (looking((1.6, 0.8, 1.4), -105.0), looking((-0.6, 0.8, 1.4), -65.0)):
        rgb, depth = demo_room().render(pose, CAMERA, 0)
        points = (spots - pose[:3, 3]) @ pose[:3, :3]
        pixels = np.rint(CAMERA.project(points)).astype(int)
        assert np.abs(depth[pixels[:, 1], pixels[:, 0]] / points[:, 2] - 1.0).max() < 0.05
        smooth = cv2.GaussianBlur(rgb.astype(np.float32).mean(axis=-1), (0, 0), 4.0)
        brightness.append(smooth[pixels[:, 1], pixels[:, 0]])
    assert np.abs(brightness[0] - brightness[1]).max() > 25.0


def test_pixels_without_a_ray_are_black_and_without_depth() -> None:
    # This fisheye lens sees beyond the range in which unit-depth rays exist.
    camera = Camera(
        width=320,
        height=240,
        fx=80.0,
        fy=80.0,
        cx=159.5,
        cy=119.5,
        distortion_model='equidistant',
        distortion=(0.0, 0.0, 0.0, 0.0),
    )
    rgb, depth = demo_room().render(looking((0.0, 1.2, 1.4), -90.0), camera, 0)
    known = np.isfinite(camera.rays(1)[..., 0])
    assert 0 < (~known).sum() < known.size / 2
    assert (depth[~known] == 0.0).all()
    assert (rgb[~known] == 0).all()
    assert (depth[known] > 0.0).all()
    assert rgb[known].mean() > 40.0


def test_every_frame_of_the_flights_has_texture() -> None:
    every = (
        reader.read(Path(reader.NAME), 'train')[::125]
        + reader.read(Path(reader.NAME), 'test')[::75]
    )
    for sample in every:
        image = sample.load_image().astype(float).mean(axis=-1)
        blocks = image.reshape(8, 60, 8, 80).std(axis=(1, 3))
        assert np.median(blocks) > 10.0, sample.name
        assert blocks.min() > 2.0, sample.name


def test_no_camera_comes_near_a_surface() -> None:
    for flight in [*flights.training_flights(), flights.test_flight()]:
        positions = flight.world_from_camera[:, :3, 3]
        assert build_scene().clearance(positions).min() > 0.4, flight.name
        assert (np.abs(positions - ROOM.centre) < ROOM.size / 2).all()


def test_poses_are_rigid_and_upright() -> None:
    for flight in [*flights.training_flights(), flights.test_flight()]:
        rotation = flight.world_from_camera[:, :3, :3]
        identity = np.broadcast_to(np.eye(3), rotation.shape)
        np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), identity, atol=1e-12)
        assert (np.linalg.det(rotation) > 0.0).all()
        assert (rotation[:, 2, 1] < -0.8).all()


def test_test_flight_is_between_the_training_flights_not_on_them() -> None:
    test = flights.test_flight().world_from_camera
    train = np.concatenate([flight.world_from_camera for flight in flights.training_flights()])
    metres = np.linalg.norm(test[:, None, :3, 3] - train[None, :, :3, 3], axis=-1)
    trace = np.einsum('nij,mij->nm', test[:, :3, :3], train[:, :3, :3])
    degrees = np.degrees(np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0)))
    difference = metres / 0.25 + degrees / 15.0
    nearest, frames = difference.argmin(axis=1), np.arange(len(test))
    assert 0.1 < np.median(metres[frames, nearest]) < 0.25
    assert 4.0 < np.median(degrees[frames, nearest]) < 15.0
    assert metres[frames, nearest].max() < 0.5
    assert degrees[frames, nearest].max() < 20.0
    assert ((metres < 0.05) & (degrees < 2.0)).mean() < 1e-4


def test_test_flight_moves_like_somebody_who_walks() -> None:
    poses = flights.test_flight().world_from_camera
    assert len(poses) == 300
    speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) * flights.FRAMES_PER_SECOND
    assert 0.2 < speed.mean() < 0.5
    assert speed.max() < 0.6
    turn = poses[:-1, :3, :3].transpose(0, 2, 1) @ poses[1:, :3, :3]
    cosine = np.clip((np.trace(turn, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0)
    assert np.degrees(np.arccos(cosine)).max() * flights.FRAMES_PER_SECOND < 31.0


def test_reader_names_frames_once_and_takes_lists(tmp_path: Path) -> None:
    path = Path(reader.NAME)
    train, test = reader.read(path, 'train'), reader.read(path, 'test')
    names = [sample.name for sample in train + test]
    assert len(set(names)) == len(names)
    assert [sample.timestamp for sample in test] == [frame / 10.0 for frame in range(300)]
    listing = tmp_path / 'some.txt'
    listing.write_text('# two\ntest-0007\ntrain-1-0003\n', encoding='utf-8')
    assert [sample.name for sample in reader.read(path, listing)] == ['test-0007', 'train-1-0003']


def test_reader_names_the_line_of_an_unknown_frame(tmp_path: Path) -> None:
    listing = tmp_path / 'some.txt'
    listing.write_text('test-0007\nkitchen\n', encoding='utf-8')
    with pytest.raises(DataError, match=r'some\.txt:2: .*kitchen'):
        reader.read(Path(reader.NAME), listing)
    with pytest.raises(DataError, match='missing'):
        reader.read(Path(reader.NAME), tmp_path / 'missing.txt')
    with pytest.raises(DataError, match='validation'):
        reader.read(Path(reader.NAME), 'validation')


def test_reader_matches_its_name_only(tmp_path: Path) -> None:
    assert reader.matches(Path('demo-room'))
    assert not reader.matches(tmp_path / 'demo-room')
    assert not reader.matches(Path('redkitchen'))
