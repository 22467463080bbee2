"""The losses: zero where they should be, finite everywhere, and the traps of the paper avoided."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.poses import rigid_transform, transform_points
from implicit_loc_trainer.recipes.sections import LossConfig
from implicit_loc_trainer.training import losses

CAMERA = Camera(320, 240, 262.0, 262.0, 159.5, 119.5)


def _scene(batch: int = 2) -> dict[str, torch.Tensor]:
    """True geometry of a random surface, float64."""
    generator = torch.Generator().manual_seed(0)
    rays = torch.from_numpy(CAMERA.rays(16).reshape(-1, 3).copy()).double().expand(batch, -1, 3)
    depth = 1 + 3 * torch.rand(*rays.shape[:2], 1, dtype=torch.float64, generator=generator)
    rotations = Rotation.random(batch, random_state=0).as_matrix()
    pose = rigid_transform(
        torch.from_numpy(rotations),
        torch.randn(batch, 3, dtype=torch.float64, generator=generator),
    )
    camera = depth * rays
    return {
        'world': transform_points(pose, camera),
        'camera': camera,
        'rays': rays,
        'pose': pose,
        'focal': torch.full((batch,), 262.0, dtype=torch.float64),
        'valid': torch.ones(rays.shape[:2], dtype=torch.bool),
    }


def _reprojection(
    scene: dict[str, torch.Tensor], world: torch.Tensor, tau: float = 50.0
) -> torch.Tensor:
    return losses.reprojection_loss(
        world, scene['rays'], scene['focal'], scene['pose'], scene['valid'], tau, 2.0
    )


def test_true_geometry_costs_nothing() -> None:
    """With world_from_camera poses: the reprojection takes the inverse, the consistency not."""
    scene = _scene()
    assert _reprojection(scene, scene['world']) < 1e-3
    consistency = losses.consistency_loss(
        scene['world'], scene['camera'], scene['pose'], scene['valid']
    )
    assert consistency < 1e-9
    assert losses.pose_loss(scene['pose'], scene['pose']) < 1e-6


def test_the_reprojection_error_is_in_pixels() -> None:
    """A point that is seen one pixel aside costs one pixel, at any depth."""
    scene = _scene()
    aside = scene['camera'] + scene['camera'][..., 2:] * torch.tensor([1 / 262.0, 0, 0])
    error = _reprojection(scene, transform_points(scene['pose'], aside), tau=1000.0)
    assert float(error) == pytest.approx(1.0, rel=1e-3)


def test_the_soft_clamp_bounds_what_an_outlier_costs() -> None:
    scene = _scene()
    far_off = scene['camera'] + scene['camera'][..., 2:] * torch.tensor([2.0, 0, 0])
    error = _reprojection(scene, transform_points(scene['pose'], far_off), tau=10.0)
    assert float(error) == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize('depth', [-5.0, -1e-6, 0.0, 1e-9, 0.05])
def test_points_at_and_behind_the_camera_are_pulled_in_front(depth: float) -> None:
    """Finite loss and gradient, and a step downhill moves the point forward."""
    scene = _scene(1)
    stuck = scene['camera'].clone()
    stuck[..., 2] = depth
    world = transform_points(scene['pose'], stuck).requires_grad_()
    error = _reprojection(scene, world)
    error.backward()
    assert world.grad is not None
    assert torch.isfinite(error)
    assert torch.isfinite(world.grad).all()
    downhill = -world.grad @ scene['pose'][0, :3, 2]
    assert (downhill > 0).all()


def test_masked_cells_cost_nothing() -> None:
    """Whatever they hold, as long as it is finite; no valid cell at all is no division by 0."""
    scene = _scene()
    world = scene['world'].clone()
    world[:, :50] += 1e3
    scene['valid'][:, :50] = False
    assert _reprojection(scene, world) < 1e-3
    scene['valid'][:] = False
    assert _reprojection(scene, world) == 0


def test_the_pose_loss_adds_metres_and_radians() -> None:
    """Averaged over the batch."""
    true = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    moved = true.clone()
    moved[0, :3, 3] = torch.tensor([0.3, 0.0, 0.4])
    turn = Rotation.from_rotvec([0, 0.2, 0]).as_matrix()
    moved[1, :3, :3] = torch.from_numpy(turn)
    assert float(losses.pose_loss(moved, true)) == pytest.approx((0.5 + 0.2) / 2)


def test_the_curriculum_tightens() -> None:
    """From 50 px to 1 px, slowly first, and it stays within these for any progress."""
    config = LossConfig()
    taus = [losses.curriculum_tau(config, p) for p in np.linspace(-0.1, 1.1, 25)]
    assert taus == sorted(taus, reverse=True)
    assert taus[0] == 50.0
    assert taus[-1] == 1.0
    assert losses.curriculum_tau(config, 0.5) == pytest.approx(1 + 49 * math.sqrt(0.75))


def test_terms_are_weighted() -> None:
    """Terms that are off are zero in the log and add nothing."""
    config = LossConfig(pose=2.0, consistency=3.0, reprojection=0.5)
    values = {'pose': torch.tensor(1.0), 'reprojection': torch.tensor(100.0)}
    terms = losses.combine(config, values)
    assert terms.total == 2 + 50
    assert terms.pose == 1
    assert terms.consistency == 0
    assert terms.likelihood == 0


def test_a_plain_reprojection_error_is_not_clamped() -> None:
    """The paper's mean: twice as far aside costs twice as much, at 100 px too."""
    scene = _scene()
    config = LossConfig(curve='none')
    assert losses.curriculum_tau(config, 0.9) is None

    def cost(pixels: float) -> float:
        aside = scene['camera'] + scene['camera'][..., 2:] * torch.tensor([pixels / 262, 0, 0])
        world = transform_points(scene['pose'], aside)
        return float(
            losses.reprojection_loss(
                world, scene['rays'], scene['focal'], scene['pose'], scene['valid'], None, 2.0
            )
        )

    assert cost(100) == pytest.approx(100, rel=1e-6)
    assert cost(200) == pytest.approx(200, rel=1e-6)


@pytest.mark.parametrize('residual', [0.1, 0.5, 3.0])
def test_the_likelihood_is_best_at_the_inverse_variance(residual: float) -> None:
    """Gradient descent on the weights alone ends at sqrt(w) = 3 scale / r, on every cell."""
    scene = _scene(1)
    world = scene['world'] + torch.tensor([residual, 0.0, 0.0])
    logits = torch.zeros(scene['valid'].shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(800):
        optimizer.zero_grad()
        losses.likelihood_loss(
            world, scene['camera'], logits.sigmoid(), scene['pose'], scene['valid'], 0.02
        ).backward()
        optimizer.step()
    expected = (3 * 0.02 / residual) ** 2
    torch.testing.assert_close(
        logits.sigmoid().detach(), torch.full_like(logits, expected), rtol=0.02, atol=0
    )


def test_the_likelihood_is_the_density_of_laplace() -> None:
    """Up to a constant: differences between residuals and between weights are those of -log p."""
    scene = _scene(1)

    def cost(residual: float, weight: float) -> float:
        world = scene['world'] + torch.tensor([0.0, residual, 0.0])
        weights = torch.full(scene['valid'].shape, weight, dtype=torch.float64)
        return float(
            losses.likelihood_loss(
                world, scene['camera'], weights, scene['pose'], scene['valid'], 0.02
            )
        )

    def density(residual: float, weight: float) -> float:
        scale = 0.02 / math.sqrt(weight)
        return math.exp(-residual / scale) / (8 * math.pi * scale**3)

    for other in ((0.3, 0.5), (0.1, 0.05), (0.02, 1.0)):
        expected = math.log(density(0.1, 0.5)) - math.log(density(*other))
        assert cost(*other) - cost(0.1, 0.5) == pytest.approx(expected, rel=1e-5)


def test_the_likelihood_is_finite_at_weights_of_zero_and_one() -> None:
    scene = _scene(1)
    weights = torch.zeros(scene['valid'].shape, dtype=torch.float64)
    weights[:, ::2] = 1
    weights.requires_grad_()
    cost = losses.likelihood_loss(
        scene['world'], scene['camera'], weights, scene['pose'], scene['valid'], 0.02
    )
    cost.backward()
    assert torch.isfinite(cost)
    assert weights.grad is not None
    assert torch.isfinite(weights.grad).all()
