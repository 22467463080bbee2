"""Landmarks lie where the scene is, whatever the features make of it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import DataError, Sample, open_dataset
from implicit_loc_trainer.landmarks import finding
from implicit_loc_trainer.landmarks.features import Features, find_features
from implicit_loc_trainer.landmarks.finding import find_landmarks, with_landmarks
from implicit_loc_trainer.landmarks.pairs import overlapping_pairs
from implicit_loc_trainer.landmarks.tracks import Tracks, follow_features
from implicit_loc_trainer.landmarks.triangulation import triangulate

CAMERA = Camera(width=160, height=120, fx=130.0, fy=130.0, cx=79.5, cy=59.5)
QUIET = Console(quiet=True)


def _walk(frames: int) -> np.ndarray:
    """Poses along an arc that looks at points around (0, 0, 3)."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    for pose, share in zip(poses, np.linspace(-1, 1, frames), strict=True):
        pose[:3, :3] = Rotation.from_euler('y', -15 * share, degrees=True).as_matrix()
        pose[:3, 3] = (0.8 * share, 0.1 * share**2, 0.0)
    return poses


def _tracks(poses: np.ndarray, points: np.ndarray, noise_px: float = 0.0) -> Tracks:
    rng = np.random.default_rng(0)
    frame, track = np.meshgrid(np.arange(len(poses)), np.arange(len(points)), indexing='ij')
    seen = np.einsum('fji,fpj->fpi', poses[:, :3, :3], points[None] - poses[:, None, :3, 3])
    rays = seen / seen[..., 2:]
    rays[..., :2] += rng.normal(0, noise_px / CAMERA.fx, rays[..., :2].shape)
    order = np.argsort(track.ravel(), kind='stable')
    return Tracks(track.ravel()[order], frame.ravel()[order], rays.reshape(-1, 3)[order])


def _points(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform((-1, -1, 2), (1, 1, 4), (count, 3))


@pytest.mark.parametrize('offset', [0.0, 5e6])
def test_triangulation_finds_exact_points(offset: float) -> None:
    poses, points = _walk(6), _points(20)
    tracks = _tracks(poses, points)
    poses[:, :3, 3] += offset
    found = triangulate(tracks, poses, np.full(6, 130.0))
    assert len(found.frame) == 120
    assert found.world_points == pytest.approx(points[tracks.track] + offset, abs=1e-6)


def test_one_wrong_observation_is_left_out() -> None:
    poses, points = _walk(8), _points(10)
    tracks = _tracks(poses, points, noise_px=0.1)
    tracks.rays[3, 0] += 40 / CAMERA.fx
    found = triangulate(tracks, poses, np.full(8, 130.0))
    kept = np.stack([found.frame, found.world_points[:, 0]], axis=1)
    assert len(kept) == 79
    assert found.world_points[:7] == pytest.approx(np.tile(points[0], (7, 1)), abs=0.03)


def test_points_without_parallax_or_views_are_refused() -> None:
    poses = _walk(6)
    far = _points(5) * (1, 1, 100)
    assert len(triangulate(_tracks(poses, far), poses, np.full(6, 130.0)).frame) == 0
    two = poses[:2]
    assert len(triangulate(_tracks(two, _points(5)), two, np.full(2, 130.0)).frame) == 0
    standing = np.tile(np.eye(4), (6, 1, 1))
    assert len(triangulate(_tracks(standing, _points(5)), standing, np.full(6, 130.0)).frame) == 0


def test_tracks_drop_frames_with_two_features() -> None:
    poses = _walk(3)
    points = _points(6)
    descriptors = np.eye(128, dtype=np.float16)[:6]
    rays = _tracks(poses, points).rays.reshape(6, 3, 3)
    features = [Features(rays[:, frame], descriptors) for frame in range(3)]
    focal = np.full(3, 130.0)
    whole = follow_features(features, poses, focal, [(0, 1), (1, 2)])
    assert np.bincount(whole.track).tolist() == [3] * 6
    # Frame 2 shows two features on the first point, of which each other frame finds another one.
    twin = np.eye(128, dtype=np.float16)[9:10]
    features[1] = Features(
        rays[:, 1], np.concatenate([descriptors[:1] * 0.6 + twin * 0.8, descriptors[1:]])
    )
    features[2] = Features(
        np.concatenate([rays[:, 2], rays[:1, 2]]), np.concatenate([descriptors, twin])
    )
    split = follow_features(features, poses, focal, [(0, 1), (0, 2), (1, 2)])
    assert np.bincount(split.track).tolist() == [2, 3, 3, 3, 3, 3]


def test_matches_off_the_epipolar_line_are_refused() -> None:
    poses, points = _walk(3), _points(6)
    rays = _tracks(poses, points).rays.reshape(6, 3, 3)
    moved = rays.copy()
    moved[0, 1, 1] += 5 / CAMERA.fx
    descriptors = np.eye(128, dtype=np.float16)[:6]
    features = [Features(moved[:, frame], descriptors) for frame in range(3)]
    tracks = follow_features(features, poses, np.full(3, 130.0), [(0, 1), (1, 2)])
    assert sorted(np.bincount(tracks.track).tolist()) == [1, 1, 1, 3, 3, 3, 3, 3]


def test_pairs_overlap_and_have_parallax() -> None:
    poses = _walk(40)
    pairs = overlapping_pairs(poses, typical_depth=3.0)
    assert pairs == sorted(set(pairs))
    assert all(first < second for first, second in pairs)
    distances = [np.linalg.norm(poses[a, :3, 3] - poses[b, :3, 3]) for a, b in pairs]
    assert min(distances) > 3.0 * np.tan(np.radians(1.0))
    assert {frame for pair in pairs for frame in pair} == set(range(40))
    back = poses.copy()
    back[20:, :3, :3] = np.diag([-1.0, 1.0, -1.0]) @ back[20:, :3, :3]
    assert not [p for p in overlapping_pairs(back, 3.0) if p[0] < 20 <= p[1]]


@pytest.fixture(scope='module')
def room() -> list[Sample]:
    return open_dataset('demo-room', 'train')[:36:4]


@pytest.fixture(scope='module')
def folder(room: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('landmarks')
    find_landmarks(room, 2.0, path, QUIET)
    return path


def test_landmarks_lie_on_the_surfaces_of_the_demo_room(room: list[Sample], folder: Path) -> None:
    errors = []
    for sample in with_landmarks(room, find_landmarks(room, 2.0, folder, QUIET)):
        assert sample.landmarks is not None
        assert sample.load_depth is not None
        depth = sample.load_depth()
        camera_from_world = np.linalg.inv(sample.world_from_camera)
        seen = sample.landmarks @ camera_from_world[:3, :3].T + camera_from_world[:3, 3]
        camera = sample.camera.scaled(depth.shape[1], depth.shape[0])
        column, row = np.round(camera.project(seen)).astype(int).T
        errors.append(np.abs(seen[:, 2] - depth[row, column]) / depth[row, column])
    everywhere = np.concatenate(errors)
    assert len(everywhere) > 100
    assert np.median(everywhere) < 0.02


def test_landmarks_are_found_once_for_the_same_frames(
    room: list[Sample], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = []

    def nothing(sample: Sample) -> Features:
        searches.append(sample.name)
        return Features.none()

    monkeypatch.setattr(finding, 'find_features', nothing)
    kept = find_landmarks(room, 2.0, folder, QUIET)
    assert len(kept.frame) > 100
    assert not searches
    black = replace(room[0], load_image=lambda: np.zeros((480, 640, 3), dtype=np.uint8))
    for samples, depth in ((room, 3.0), ([*room[1:], room[0]], 2.0), ([black, *room[1:]], 2.0)):
        with pytest.raises(DataError, match='no landmarks were found in 9 frames'):
            find_landmarks(samples, depth, folder, QUIET)
    assert len(searches) == 27
    (file,) = folder.glob('*.npz')
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match='no landmarks'):
        find_landmarks(room, 2.0, folder, QUIET)


def test_larger_images_of_the_same_show_as_many(room: list[Sample], tmp_path: Path) -> None:
    def enlarged(sample: Sample) -> Sample:
        camera = sample.camera.scaled(1920, 1440)
        image = cv2.resize(sample.load_image(), (1920, 1440), interpolation=cv2.INTER_CUBIC)
        return replace(sample, camera=camera, load_image=lambda: image)

    small = find_landmarks(room[:5], 2.0, tmp_path, QUIET)
    large = find_landmarks([enlarged(sample) for sample in room[:5]], 2.0, tmp_path, QUIET)
    assert len(large.frame) > 0.8 * len(small.frame) > 0


def test_masks_make_other_landmarks(room: list[Sample], folder: Path) -> None:
    everything = np.ones((480, 640), dtype=bool)
    masked = [replace(sample, load_mask=lambda: everything) for sample in room]
    with pytest.raises(DataError, match='no landmarks'):
        find_landmarks(masked, 2.0, folder, QUIET)


def test_positions_alone_give_no_landmarks(room: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(DataError, match='no landmarks'):
        find_landmarks([sample.position_only() for sample in room], 2.0, tmp_path, QUIET)


def test_a_frame_that_cannot_be_read_has_none(room: list[Sample], tmp_path: Path) -> None:
    def vanished() -> np.ndarray:
        raise DataError('the file is gone')

    some = [*room[:5], replace(room[5], load_image=vanished)]
    found = find_landmarks(some, 2.0, tmp_path, QUIET)
    assert 5 not in found.frame


def test_masked_pixels_give_no_features(room: list[Sample]) -> None:
    mask = np.zeros((room[0].camera.height, room[0].camera.width), dtype=bool)
    mask[:, : mask.shape[1] // 2] = True
    found = find_features(replace(room[0], load_mask=lambda: mask))
    assert len(found.rays) > 10
    assert room[0].camera.project(found.rays)[:, 0].min() > mask.shape[1] // 2 - 2


def test_frames_without_orientation_get_none(room: list[Sample], tmp_path: Path) -> None:
    mixed = [*room[:6], *[sample.position_only() for sample in room[6:]]]
    found = find_landmarks(mixed, 2.0, tmp_path, QUIET)
    counts = [0 if s.landmarks is None else len(s.landmarks) for s in with_landmarks(mixed, found)]
    assert sum(counts[:6]) > 0
    assert counts[6:] == [0] * 3
