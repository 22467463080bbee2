"""The public face, with a network whose geometry is known."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from implicit_loc import AlignmentError, Camera, CameraError, ImageError, ImplicitLocError
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.landmark_map import LandmarkMap
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneGeometry, SceneNetwork
from implicit_loc.poses import invert, transform_points
from implicit_loc.solvers import SOLVERS

if TYPE_CHECKING:
    from conftest import KnownPlace

MakePlace = Callable[..., 'KnownPlace']

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
TRUE_POSE = np.array(
    [[0.0, 0.0, 1.0, 2.0], [-1.0, 0.0, 0.0, -1.0], [0.0, -1.0, 0.0, 1.2], [0, 0, 0, 1]]
)


class _KnownGeometry(SceneNetwork):
    """Stands in for a trained network: predicts a curved wall seen from TRUE_POSE."""

    def __init__(self, template: SceneNetwork, camera: Camera) -> None:
        super().__init__(template.config)
        self._rays = torch.nan_to_num(torch.from_numpy(camera.rays(8).copy()))
        self.spoil: Callable[[SceneGeometry[Tensor]], SceneGeometry[Tensor]] = lambda g: g

        self.predicts_camera_points = False

    def forward(self, image: Tensor, focal_length: Tensor) -> SceneGeometry[Tensor]:
        rows, columns = self._rays.shape[:2]
        depth = 2 + torch.rand(rows, columns, generator=torch.Generator().manual_seed(0))
        pose = torch.from_numpy(TRUE_POSE).float()
        camera_points = depth[..., None] * self._rays
        if self.predicts_camera_points:
            # Beside the rays, where no depth alone can be.
            camera_points[..., :2] += 0.5
        world = camera_points @ pose[:3, :3].T + pose[:3, 3]
        weights = torch.full((rows, columns), 0.5)
        own = camera_points[None] if self.predicts_camera_points else None
        return self.spoil(SceneGeometry(world[None], depth[None], weights[None], own))


@pytest.fixture
def known(
    untrained_network: SceneNetwork, description: CheckpointDescription, small_camera: Camera
) -> Localizer:
    network = _KnownGeometry(untrained_network, small_camera)
    return Localizer(network, description, device='cpu')


def _spoil(
    localizer: Localizer, change: Callable[[SceneGeometry[Tensor]], SceneGeometry[Tensor]]
) -> None:
    network = localizer._network
    assert isinstance(network, _KnownGeometry)
    network.spoil = change


def test_right_geometry_gives_the_right_pose(known: Localizer, small_camera: Camera) -> None:
    estimate = known.localize(IMAGE, small_camera)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-5)
    assert estimate.world_from_camera.dtype == np.float64
    assert estimate.confidence > 0.9
    assert estimate.residuals.cells == 15 * 20
    assert estimate.residuals.alignment_rms_m < 1e-5
    assert estimate.covariance.shape == (6, 6)
    assert estimate.geometry.world_points.shape == (15, 20, 3)
    np.testing.assert_allclose(estimate.first_pose, TRUE_POSE, atol=1e-5)
    assert not estimate.used_consensus
    stages = {'preprocessing', 'network', 'alignment', 'refinement', 'consensus', 'uncertainty'}
    assert estimate.timings.keys() == {*stages, 'total'}
    parts = sum(value for name, value in estimate.timings.items() if name != 'total')
    assert parts <= estimate.timings['total'] * 1.01


def test_predicted_camera_points_give_the_right_pose(
    known: Localizer, small_camera: Camera
) -> None:
    """They count in the place of depth and rays, and come back with the estimate."""
    network = known._network
    assert isinstance(network, _KnownGeometry)
    network.predicts_camera_points = True
    geometry = known.predict(IMAGE, small_camera)
    # Only the rigid alignment believes points that do not lie on their rays.
    estimate = known.solve(geometry, small_camera, solver='weighted')
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-5)
    points = estimate.geometry.own_camera_points
    assert points is not None
    assert points.shape == (15, 20, 3)
    np.testing.assert_array_equal(points[..., 2], estimate.geometry.depth)


def test_solving_a_prediction_is_the_second_half_of_localizing(
    known: Localizer, small_camera: Camera
) -> None:
    """So that every solver can be compared on the same prediction."""
    whole = known.localize(IMAGE, small_camera)
    half = known.solve(known.predict(IMAGE, small_camera), small_camera)
    np.testing.assert_array_equal(whole.world_from_camera, half.world_from_camera)
    assert whole.confidence == half.confidence
    assert 'network' not in half.timings


@pytest.mark.parametrize('name', list(SOLVERS))
def test_every_solver_can_be_chosen(known: Localizer, small_camera: Camera, name: str) -> None:
    """For a localizer as well as for one prediction."""
    chosen = Localizer(known._network, known.description, 'cpu', solver=name)
    estimate = chosen.localize(IMAGE, small_camera)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-4)
    other = known.solve(known.predict(IMAGE, small_camera), small_camera, solver=name)
    np.testing.assert_array_equal(estimate.world_from_camera, other.world_from_camera)


def test_a_solver_that_is_not_there_is_refused(
    known: Localizer, small_camera: Camera, checkpoint_path: Path
) -> None:
    """With the names of those that are."""
    with pytest.raises(ImplicitLocError, match="'magic' is not known; known are unweighted"):
        Localizer.load(checkpoint_path, 'cpu', solver='magic')
    with pytest.raises(ImplicitLocError, match='not known'):
        known.solve(known.predict(IMAGE, small_camera), small_camera, solver='magic')


def test_masked_pixels_have_no_say(known: Localizer, small_camera: Camera) -> None:
    """What a mask covers may be as wrong as it likes."""

    def spoil_the_left(geometry: SceneGeometry[Tensor]) -> SceneGeometry[Tensor]:
        world_points = geometry.world_points.clone()
        world_points[:, :, :12] += 3.0
        return dataclasses.replace(geometry, world_points=world_points)

    _spoil(known, spoil_the_left)
    mask = np.zeros((120, 160), np.uint8)
    mask[:, : 12 * 8] = 255
    estimate = known.localize(IMAGE, small_camera, mask)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-5)
    assert estimate.residuals.cells == 15 * 8
    # In the size of the image, not of the network's input.
    large = known.localize(
        np.repeat(np.repeat(IMAGE, 4, 0), 4, 1), small_camera.scaled(640, 480),
        np.repeat(np.repeat(mask, 4, 0), 4, 1),
    )  # fmt: skip
    np.testing.assert_allclose(large.world_from_camera, TRUE_POSE, atol=1e-5)


def test_landmarks_of_the_map_make_the_pose_precise(
    known: Localizer, small_camera: Camera, make_place: MakePlace
) -> None:
    """The network is 5 cm off, and they are not; where all of them are masked its pose stands."""
    place = make_place(camera=small_camera)
    here = torch.from_numpy(TRUE_POSE) @ invert(place.world_from_camera[0])
    seen, network = place.sight.landmarks, SceneNetwork(known.description.network)
    landmarks = LandmarkMap(len(seen.positions), (place.sight.descriptors.shape[-1],))
    landmarks.positions.copy_(transform_points(here, torch.from_numpy(seen.positions)))
    landmarks.directions.copy_(torch.from_numpy(seen.directions) @ here[:3, :3].T)
    landmarks.distances.copy_(torch.from_numpy(seen.distances))
    landmarks.descriptors.copy_(torch.from_numpy(seen.descriptors))
    known_network = _KnownGeometry(network, small_camera)
    known_network.spoil = lambda geometry: dataclasses.replace(
        geometry,
        world_points=geometry.world_points + torch.tensor([0.03, 0.04, 0.0]),
        descriptors=torch.from_numpy(place.sight.descriptors)[None],
    )
    known_network.landmarks = landmarks
    localizer = Localizer(known_network, known.description, 'cpu')
    estimate = localizer.localize(IMAGE, small_camera)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=5e-3)
    assert np.linalg.norm(estimate.first_pose[:3, 3] - TRUE_POSE[:3, 3]) == pytest.approx(
        0.05, abs=1e-4
    )
    assert estimate.evidence.landmark_share > 0.2
    assert estimate.timings['landmarks'] > 0
    np.linalg.cholesky(estimate.covariance)
    mask = np.zeros((120, 160), bool)
    mask[:, 40:] = mask[30:] = True
    masked = localizer.localize(IMAGE, small_camera, mask)
    assert np.linalg.norm(masked.world_from_camera - TRUE_POSE) == pytest.approx(0.05, abs=1e-4)
    assert masked.evidence.landmark_share < 0.1


def test_an_unusable_mask_is_refused(known: Localizer, small_camera: Camera) -> None:
    """One of another size, and one that leaves nothing to localize with."""
    with pytest.raises(ImageError, match=r'mask has shape \(60, 80\)'):
        known.localize(IMAGE, small_camera, np.zeros((60, 80), bool))
    with pytest.raises(AlignmentError, match='0 cells have weight'):
        known.localize(IMAGE, small_camera, np.ones((120, 160), bool))


def test_a_few_cells_that_are_not_finite_are_left_out(
    known: Localizer, small_camera: Camera
) -> None:
    """An overflow in some cells costs those cells, not the frame."""

    def spoil_some(geometry: SceneGeometry[Tensor]) -> SceneGeometry[Tensor]:
        world_points, depth = geometry.world_points.clone(), geometry.depth.clone()
        weights = geometry.weights.clone()
        world_points[:, 3, 4:8] = torch.nan
        depth[:, 5, :2] = torch.inf
        weights[:, 7, 7] = torch.nan
        return SceneGeometry(world_points, depth, weights)

    _spoil(known, spoil_some)
    estimate = known.localize(IMAGE, small_camera)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-5)
    assert estimate.residuals.cells == 15 * 20 - 7
    assert np.isfinite(estimate.covariance).all()


def test_the_same_image_gives_the_same_pose(checkpoint_path: Path, small_camera: Camera) -> None:
    localizer = Localizer.load(checkpoint_path, device='cpu')
    first, second = (localizer.localize(IMAGE, small_camera) for _ in range(2))
    np.testing.assert_array_equal(first.world_from_camera, second.world_from_camera)
    assert first.confidence == second.confidence


def test_cells_without_a_ray_have_no_say(known: Localizer) -> None:
    """A fisheye's blind corners are left out instead of spoiling the pose."""
    fisheye = Camera(160, 120, 40.0, 40.0, 79.5, 59.5, 'equidistant', (0.0, 0.0, 0.0, 0.0))
    blind = ~np.isfinite(fisheye.rays(8)).all(axis=-1)
    assert blind.any()
    network = _KnownGeometry(known._network, fisheye)
    estimate = Localizer(network, known.description, 'cpu').localize(IMAGE, fisheye)
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-4)
    assert estimate.residuals.cells == (~blind).sum()


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('weights', 0.0, '0 cells have weight'),
        ('weights', -1.0, 'negative weight'),
        ('weights', torch.nan, 'weights are not finite'),
        ('depth', torch.inf, 'camera points are not finite'),
        ('world_points', torch.nan, 'world points are not finite'),
        ('world_points', 1.0, 'line or in one point'),
    ],
)
def test_a_prediction_without_a_pose_is_refused(
    known: Localizer, small_camera: Camera, name: str, value: float, message: str
) -> None:
    _spoil(
        known,
        lambda geometry: dataclasses.replace(
            geometry, **{name: torch.full_like(getattr(geometry, name), value)}
        ),
    )
    with pytest.raises(AlignmentError, match=message):
        known.localize(IMAGE, small_camera)


def test_an_image_that_contradicts_its_camera_is_refused(
    known: Localizer, small_camera: Camera
) -> None:
    with pytest.raises(ImageError, match='100x120 pixels, its camera 160x120'):
        known.localize(IMAGE[:, :100], small_camera)
    wide = Camera(320, 120, 131.0, 131.0, 159.5, 59.5)
    with pytest.raises(CameraError, match='trained for 160x120: crop'):
        known.localize(np.zeros((120, 320, 3), np.uint8), wide)


def test_larger_images_of_the_same_camera_are_resized(
    known: Localizer, small_camera: Camera
) -> None:
    estimate = known.localize(
        np.repeat(np.repeat(IMAGE, 4, 0), 4, 1), small_camera.scaled(640, 480)
    )
    np.testing.assert_allclose(estimate.world_from_camera, TRUE_POSE, atol=1e-5)
    assert (estimate.camera.width, estimate.camera.height) == (160, 120)


@pytest.mark.parametrize('device', ['tpu', 'cuda:99', 'mps', ''])
def test_a_device_that_is_not_there_is_refused(checkpoint_path: Path, device: str) -> None:
    with pytest.raises(ImplicitLocError, match='device'):
        Localizer.load(checkpoint_path, device=device)


def test_warming_up_reports_the_time_of_an_image(checkpoint_path: Path) -> None:
    assert 0 < Localizer.load(checkpoint_path, 'cpu', runtime='eager').warm_up() < 60
