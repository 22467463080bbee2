"""Landmarks are seen where they are, and a geometry that is right costs nothing there."""

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera, output_size
from implicit_loc.network import SceneGeometry
from implicit_loc_trainer.training.augmentation import ViewChange, render_view, zoomed
from implicit_loc_trainer.training.landmark_losses import landmark_losses
from implicit_loc_trainer.training.landmark_views import seen_landmarks
from implicit_loc_trainer.training.loading import Batch, collate

STRIDE = 8
CAMERA = Camera(width=100, height=76, fx=80.0, fy=80.0, cx=49.5, cy=37.5)
# A wall three metres ahead: its geometry is linear in the image, so that interpolating between
# cells is exact.
WALL_M = 3.0


def _view(change: ViewChange, landmarks: np.ndarray | None, ignored: np.ndarray | None = None):
    world_from_camera = np.eye(4)
    world_from_camera[:3, 3] = (0.3, -0.2, 0.1)
    image = np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    view = render_view(image, CAMERA, CAMERA, world_from_camera, change, STRIDE, ignored)
    camera = zoomed(CAMERA, change.zoom)
    return seen_landmarks(view, landmarks, camera, np.random.default_rng(0))


def _wall_points(count: int) -> np.ndarray:
    points = np.random.default_rng(2).uniform((-1.2, -1.0, 0), (1.2, 1.0, 0), (count, 3))
    points[:, 2] = WALL_M + 0.1
    return points


def _wall_geometry(batch: Batch) -> SceneGeometry[torch.Tensor]:
    rows, columns = output_size(CAMERA.width, CAMERA.height, STRIDE)
    depth = torch.full((len(batch.rays), rows, columns), WALL_M)
    points = depth[..., None] * batch.rays + batch.world_from_camera[:, None, None, :3, 3]
    return SceneGeometry(points, depth, torch.ones_like(depth))


@pytest.mark.parametrize('zoom', [1.0, 1.4])
def test_the_true_geometry_costs_nothing(zoom: float) -> None:
    view = _view(ViewChange(np.eye(3), zoom), _wall_points(60))
    # The last column and row of cells are cut by the image's border: only whole ones count.
    view.landmarks[(view.landmarks[:, 0] > 91) | (view.landmarks[:, 1] > 67), 5] = 0
    view.landmarks[(view.landmarks[:, :2] < 4).any(axis=1), 5] = 0
    batch = collate([view, view])
    assert (batch.landmarks[..., 5] > 0).sum() > 40
    point, depth = landmark_losses(_wall_geometry(batch), batch, STRIDE)
    assert float(point) < 1e-4
    assert float(depth) < 1e-5


def test_a_wrong_geometry_costs_its_error() -> None:
    batch = collate([_view(ViewChange(np.eye(3), 1.0), _wall_points(60))])
    wall = _wall_geometry(batch)
    moved = SceneGeometry(
        wall.world_points + torch.tensor([0.0, 0.0, 0.5]), wall.depth + 0.25, wall.weights
    )
    point, depth = landmark_losses(moved, batch, STRIDE)
    assert float(point) == pytest.approx(0.5, abs=0.02)
    assert float(depth) == pytest.approx(0.25, abs=1e-3)


def test_turned_views_see_landmarks_at_their_pixels() -> None:
    angle = np.radians(10.0)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    change = ViewChange(turn, 1.2)
    view = _view(change, _wall_points(80))
    rows = view.landmarks[view.landmarks[:, 5] > 0]
    assert 10 < len(rows) < 80
    rays = zoomed(CAMERA, 1.2).unproject(rows[:, :2].astype(float)) * rows[:, 5:]
    world = rays @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
    assert world == pytest.approx(rows[:, 2:5], abs=1e-4)


def test_landmarks_behind_the_camera_or_in_masks_do_not_count() -> None:
    behind = _view(ViewChange(np.eye(3), 1.0), _wall_points(20) * (1, 1, -1))
    assert not behind.landmarks.any()
    ignored = np.ones((CAMERA.height, CAMERA.width), dtype=bool)
    batch = collate([_view(ViewChange(np.eye(3), 1.0), _wall_points(20), ignored)])
    wrong = _wall_geometry(batch)
    losses = landmark_losses(
        SceneGeometry(wrong.world_points + 1, wrong.depth, wrong.weights), batch, STRIDE
    )
    assert [float(loss) for loss in losses] == [0.0, 0.0]


def test_views_without_landmarks_make_a_batch_with_others() -> None:
    change = ViewChange(np.eye(3), 1.0)
    with_some, with_none = _view(change, _wall_points(5)), _view(change, None)
    batch = collate([with_some, with_none])
    assert ((batch.landmarks[..., 5] > 0).sum(dim=1) > 0).tolist() == [True, False]
    assert collate([_view(change, None)]).landmarks.shape[-1] == 6
