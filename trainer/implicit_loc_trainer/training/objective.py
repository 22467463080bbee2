"""What a batch costs: the terms of the loss that recipe and phase ask for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from implicit_loc.alignment import align
from implicit_loc.cells import Cells
from implicit_loc.network import SceneGeometry
from implicit_loc.refinement import refine
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import LossConfig
from implicit_loc_trainer.training import losses
from implicit_loc_trainer.training.landmark_losses import landmark_losses
from implicit_loc_trainer.training.loading import Batch
from implicit_loc_trainer.training.optimisation import in_geometry_phase


@dataclass(frozen=True)
class Objective:
    """The loss of a recipe."""

    recipe: Recipe

    def __call__(
        self, predicted: SceneGeometry[Tensor], batch: Batch, progress: float
    ) -> losses.Losses:
        """The weighted loss of one batch, float32.

        Args:
            predicted: of the batch's images, (B, h, w).
            batch: with the true poses.
            progress: share of the training that is done, [0, 1].
        """
        config = self.recipe.loss
        world = predicted.world_points.flatten(1, 2)
        camera = predicted.camera_points(batch.rays).flatten(1, 2)
        valid = batch.valid.flatten(1)
        weights = torch.where(valid, predicted.weights.flatten(1), 0)
        true_pose = batch.world_from_camera
        # Where a point is seen from says nothing without knowing where the camera looks.
        compared = valid & batch.has_orientation[:, None]
        terms = {}
        if not in_geometry_phase(self.recipe.optimizer, progress):
            rays = batch.rays.flatten(1, 2)
            cells = Cells(world, camera, rays, weights, batch.focal_length)
            for name, estimated in _poses(config, cells).items():
                terms[name] = losses.pose_loss(estimated, true_pose, batch.has_orientation)
        if config.consistency:
            terms['consistency'] = losses.consistency_loss(world, camera, true_pose, compared)
        if config.reprojection:
            terms['reprojection'] = losses.reprojection_loss(
                world,
                batch.rays.flatten(1, 2),
                batch.focal_length,
                true_pose,
                compared,
                tau_px=losses.curriculum_tau(config, progress),
                fallback_depth=config.fallback_depth_share * self.recipe.network.far,
            )
        if config.likelihood:
            moves = config.likelihood_moves_geometry
            terms['likelihood'] = losses.likelihood_loss(
                world if moves else world.detach(),
                camera if moves else camera.detach(),
                weights,
                true_pose,
                compared,
                config.likelihood_scale_m,
            )
        if config.landmarks or config.landmark_depth:
            terms['landmarks'], terms['landmark_depth'] = landmark_losses(
                predicted, batch, self.recipe.network.stride
            )
        return losses.combine(config, terms)


def _poses(config: LossConfig, cells: Cells) -> dict[str, Tensor]:
    """The poses that the recipe compares with the true ones, by their terms."""
    if not (config.pose or config.refined_pose):
        return {}
    aligned = align(cells.world_points, cells.camera_points, cells.weights)
    poses = {'pose': aligned} if config.pose else {}
    if config.refined_pose:
        # What refinement cannot improve learns through its start.
        poses['refined_pose'] = refine(
            aligned, cells, differentiable_last_step=True
        ).world_from_camera
    return poses
