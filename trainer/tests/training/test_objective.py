"""Which terms act, when, and on what; today's recipes cost what they always did."""

from dataclasses import replace

import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.network import SceneGeometry
from implicit_loc.poses import exp_se3, transform_points
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError, LossConfig, OptimizerConfig
from implicit_loc_trainer.training import objective
from implicit_loc_trainer.training.loading import Batch
from implicit_loc_trainer.training.objective import Objective

CAMERA = Camera(320, 240, 262.0, 262.0, 159.5, 119.5)

# Of the batch below at 30 % of a training, measured before the terms could be switched.
EXPECTED = {
    'total': 5.056890748457877,
    'pose': 1.9001420916134988,
    'consistency': 1.927539858620284,
    'reprojection': 24.58417596448188,
}


def _batch() -> tuple[SceneGeometry[torch.Tensor], Batch]:
    """Wrong geometry with some gross errors, float64, without random numbers."""
    rays = torch.from_numpy(CAMERA.rays(16).copy()).double().expand(2, -1, -1, -1)
    index = torch.arange(rays.numel(), dtype=torch.float64).reshape(rays.shape)
    depth = 2.5 + 1.5 * torch.sin(index[..., 0])
    twists = torch.tensor([[0.3, -1.0, 0.5, 0.2, 0.7, -0.4], [1.0, 2.0, -0.5, -1.0, 0.1, 0.3]])
    pose = exp_se3(twists.double())
    camera = (depth[..., None] * rays).flatten(1, 2)
    world = transform_points(pose, camera).reshape(rays.shape) + 0.2 * torch.sin(2 * index)
    world[:, ::4, ::5] += 20
    valid = torch.ones(depth.shape, dtype=torch.bool)
    valid[:, :, ::7] = False
    predicted = SceneGeometry(
        world_points=world.requires_grad_(),
        depth=(depth * (1 + 0.1 * torch.cos(index[..., 1]))).requires_grad_(),
        weights=(0.5 + 0.4 * torch.sin(3 * index[..., 2])).requires_grad_(),
    )
    images = torch.zeros(2, 3, 240, 320, dtype=torch.uint8)
    focal = torch.full((2,), 262.0, dtype=torch.float64)
    return predicted, Batch(
        images=images,
        rays=rays,
        valid=valid,
        focal_length=focal,
        world_from_camera=pose,
        frames=torch.arange(2),
        has_orientation=torch.ones(2, dtype=torch.bool),
        landmarks=torch.zeros(2, 0, 6),
    )


def _gradients(recipe: Recipe, progress: float) -> tuple[bool, bool, bool]:
    """Whether world points, depth and weights receive any."""
    predicted, batch = _batch()
    Objective(recipe)(predicted, batch, progress).total.backward()
    tensors = (predicted.world_points, predicted.depth, predicted.weights)
    moved = [tensor.grad is not None and bool(tensor.grad.any()) for tensor in tensors]
    return moved[0], moved[1], moved[2]


def test_the_default_recipe_costs_what_it_always_did() -> None:
    predicted, batch = _batch()
    with torch.no_grad():
        terms = Objective(Recipe())(predicted, batch, 0.3)
    for name, value in EXPECTED.items():
        assert float(getattr(terms, name)) == pytest.approx(value, rel=1e-9), name
    assert terms.likelihood == 0


def test_the_first_phase_knows_no_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is aligned, and the weights receive no gradient at all."""
    recipe = Recipe(optimizer=OptimizerConfig(geometry_share=0.6))
    assert _gradients(recipe, 0.6) == (True, True, True)
    monkeypatch.setattr(objective, 'align', None)
    assert _gradients(recipe, 0.59) == (True, True, False)
    predicted, batch = _batch()
    assert Objective(recipe)(predicted, batch, 0.0).pose == 0
    with pytest.raises(TypeError):
        _gradients(recipe, 0.6)


@pytest.mark.parametrize(
    ('terms', 'moved'),
    [
        ({'pose': 1.0}, (True, True, True)),
        ({'refined_pose': 1.0}, (True, True, True)),
        ({'consistency': 1.0}, (True, True, False)),
        ({'reprojection': 1.0}, (True, False, False)),
        ({'likelihood': 1.0}, (False, False, True)),
        ({'likelihood': 1.0, 'likelihood_moves_geometry': True}, (True, True, True)),
    ],
)
def test_each_term_moves_what_it_is_about(
    terms: dict[str, float], moved: tuple[bool, bool, bool]
) -> None:
    off = LossConfig(pose=1.0, consistency=0.0, reprojection=0.0)
    loss = replace(off, **{'pose': 0.0, **terms})
    assert _gradients(Recipe(loss=loss), 0.5) == moved


def test_the_refined_pose_is_nearer_than_the_aligned_one() -> None:
    """A fifth of the cells is 20 m off; refinement forgives them."""
    predicted, batch = _batch()
    with torch.no_grad():
        terms = Objective(Recipe(loss=LossConfig(refined_pose=1.0)))(predicted, batch, 0.5)
    assert 0 < terms.refined_pose < 0.5 * terms.pose


def test_a_step_along_the_gradient_brings_the_refined_pose_nearer() -> None:
    recipe = Recipe(loss=LossConfig(pose=0, consistency=0, reprojection=0, refined_pose=1.0))
    predicted, batch = _batch()
    before = Objective(recipe)(predicted, batch, 0.5).total
    tensors = (predicted.world_points, predicted.depth, predicted.weights)
    gradients = torch.autograd.grad(before, tensors)
    moved = [
        tensor.detach() - 1e-3 * gradient / gradient.norm()
        for tensor, gradient in zip(tensors, gradients, strict=True)
    ]
    assert Objective(recipe)(SceneGeometry(*moved), batch, 0.5).total < before


def test_a_masked_cell_moves_nothing() -> None:
    """In no term."""
    loss = LossConfig(refined_pose=1.0, likelihood=1.0, likelihood_moves_geometry=True)
    recipe = Recipe(loss=loss)
    predicted, batch = _batch()
    Objective(recipe)(predicted, batch, 0.5).total.backward()
    for tensor in (predicted.world_points, predicted.depth, predicted.weights):
        assert tensor.grad is not None
        assert not tensor.grad[~batch.valid].any()


def test_a_recipe_without_anything_to_learn_from_is_refused() -> None:
    with pytest.raises(ConfigError, match='nothing to learn from'):
        LossConfig(pose=0, consistency=0, reprojection=0)
    pose_only = LossConfig(consistency=0, reprojection=0)
    with pytest.raises(ConfigError, match='that phase needs'):
        Recipe(loss=pose_only, optimizer=OptimizerConfig(geometry_share=0.5))
