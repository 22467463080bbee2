"""From a network's prediction to a pose and what its assessment needs, on a device."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from implicit_loc.alignment import align
from implicit_loc.camera import Camera
from implicit_loc.cells import FEWEST_CELLS, Cells, covariance_of_clouds, only
from implicit_loc.covariance import RegionalEquations, regional_equations
from implicit_loc.device_solving.camera import DeviceCamera
from implicit_loc.device_solving.landmarks import DeviceLandmarks
from implicit_loc.device_solving.outcome import Parts
from implicit_loc.device_solving.rounds import AlignedNearby, align_nearby
from implicit_loc.landmark_alignment import LANDMARK_COST
from implicit_loc.landmark_search import Landmarks
from implicit_loc.network import SceneGeometry
from implicit_loc.solvers import inlier_ratio, mostly_behind, solve_refined
from implicit_loc.uncertainty import agreement, countable


class DeviceSolver(nn.Module):
    """The default solver and the assessment of its pose, for images of one size.

    All is computed in float64, as on the host, but for likenesses of descriptors: these few
    thousand numbers take a GPU less time than its kernels take to begin, and poses of maps far
    from their origin keep their digits.

    Args:
        camera: of the network's input.
        stride: pixels of it per cell.
        landmarks: of the map; None where it has none.
    """

    def __init__(self, camera: Camera, stride: int, landmarks: Landmarks | None) -> None:
        super().__init__()
        self.camera = DeviceCamera(camera, stride)
        self.landmarks = None if landmarks is None else DeviceLandmarks(landmarks, self.camera)

    def forward(self, geometry: SceneGeometry[Tensor]) -> Parts:
        """Solve the prediction of one image, a batch of one; tensors on the device."""
        given = self._cells(geometry)
        usable, is_usual = _usable(given)
        cells = only(given, usable)
        if self.landmarks is None or geometry.descriptors is None:
            return self._solved_on_cells(cells, is_usual)
        first = align(cells.world_points, cells.camera_points, cells.weights)
        image = geometry.descriptors[0].float()
        near = align_nearby(self.landmarks, image, first)
        equations = regional_equations(
            countable(near.cells), near.world_from_camera, LANDMARK_COST
        )
        described = self._described(cells, near.world_from_camera, first, equations)
        return described._replace(
            is_usual=is_usual & near.is_settled,
            agreeing=near.agrees.sum(),
            looked_for=near.judged.looked_for,
            found=self._found(near),
        )

    def _cells(self, geometry: SceneGeometry[Tensor]) -> Cells:
        """As `cells_of_prediction`."""
        precise = replace(geometry, descriptors=None).map(Tensor.double)
        rays = self.camera.rays
        points = precise.camera_points(rays.view(precise.world_points.shape))
        weights = torch.where(self.camera.visible, precise.weights.flatten(1), 0)
        return Cells(
            precise.world_points.flatten(1, 2),
            points.flatten(1, 2),
            rays,
            weights,
            self.camera.focal_length,
        )

    def _solved_on_cells(self, cells: Cells, is_usual: Tensor) -> Parts:
        """Of maps without landmarks."""
        solution = solve_refined(cells)
        pose = solution.world_from_camera
        equations = regional_equations(countable(cells), pose)
        described = self._described(cells, pose, solution.first_pose, equations)
        return described._replace(
            is_usual=is_usual & ~mostly_behind(pose, cells)[0],
            inlier_ratio=inlier_ratio(pose, cells)[0],
        )

    def _described(
        self, cells: Cells, pose: Tensor, first: Tensor, equations: RegionalEquations
    ) -> Parts:
        """What is known of every pose; the rest is what it is without landmarks."""
        zero = torch.zeros_like(pose[0, 0, 0])
        return Parts(
            world_from_camera=pose[0],
            first_pose=first[0],
            covariance_of_clouds=covariance_of_clouds(cells)[0],
            agreement=torch.stack([part.double() for part in agreement(countable(cells), pose)]),
            gradients=equations.gradients,
            information=equations.information,
            is_usual=zero,
            inlier_ratio=zero,
            agreeing=zero,
            looked_for=zero,
            found=pose.new_zeros(0, 3),
        )

    def _found(self, near: AlignedNearby) -> Tensor:
        """As `found` of Parts."""
        cells = near.judged.cells
        pixels = self.camera.project(cells.rays[0, :, :2])
        rows = torch.cat([pixels, near.agrees[:, None].to(pixels)], dim=1)
        return torch.where(cells.weights[0, :, None] > 0, rows, torch.nan)


def _usable(cells: Cells) -> tuple[Tensor, Tensor]:
    """Which cells of one image can be used, and whether `usable_cells` has nothing against them.

    Returns:
        (1, N) bool, and () bool; what `usable_cells` says of their spread is for the host.
    """
    finite = cells.weights.isfinite()
    for part in (cells.world_points, cells.camera_points, cells.rays):
        finite = finite & part.isfinite().all(dim=-1)
    usable = finite & (cells.weights > 0)
    is_negative = (finite & (cells.weights < 0)).any()
    return usable, (usable.sum() >= FEWEST_CELLS) & ~is_negative
