"""Frozen stages stay as they are, weights and batch statistics."""

from pathlib import Path

import pytest
import small_training
import torch

from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.recipes.sections import ConfigError, OptimizerConfig
from implicit_loc_trainer.training.description import describe
from implicit_loc_trainer.training.freezing import freeze_stages
from implicit_loc_trainer.training.loading import TrainingSet
from implicit_loc_trainer.training.optimisation import build_optimizer
from implicit_loc_trainer.training.scene_training import SceneTraining


def _step(network: SceneNetwork, config: OptimizerConfig) -> None:
    optimizer, _ = build_optimizer(config, network, total_steps=10)
    geometry = network(torch.rand(2, 3, 64, 96), torch.full((2,), 80.0))
    geometry.world_points.square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize('kind', ['adamw', 'adam'])
def test_frozen_stages_do_not_move(kind: str) -> None:
    network = SceneNetwork(NetworkConfig(decoder_channels=16)).train()
    freeze_stages(network, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    _step(network, OptimizerConfig(kind=kind, frozen_stages=2, learning_rate=0.1))
    moved = {
        name
        for name, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    frozen = ('backbone.stages.0.', 'backbone.stages.1.')
    assert not [name for name in moved if name.startswith(frozen)]
    assert [name for name in moved if name.startswith('backbone.stages.2.')]
    assert [name for name in moved if name.startswith('world_head')]


def test_a_training_keeps_frozen_stages_in_evaluation_mode() -> None:
    """Whoever switches the modes, and however often."""
    samples = small_training.samples(4)
    recipe = small_training.recipe(Path('unused'))
    recipe = small_training.with_epochs(recipe, 1, frozen_stages=1)
    views = TrainingSet(samples, 48, recipe.network.stride, recipe.augmentation, seed=1)
    description = describe(recipe, samples)
    network = SceneNetwork(description.network)
    module = SceneTraining(recipe, network, description, views, [], pytest.fail)
    frozen, learned = network.backbone.stages[0], network.backbone.stages[1]
    before = [_statistics(frozen), _statistics(learned)]
    for _ in range(2):
        module.eval()
        module.train()
        assert not any(part.training for part in frozen.modules())
        assert all(part.training for part in learned.modules())
        assert network.training
        network(torch.rand(2, 3, 48, 64), torch.full((2,), 50.0))
    assert all(map(torch.equal, _statistics(frozen), before[0]))
    assert not any(map(torch.equal, _statistics(learned), before[1]))


def _statistics(stage: torch.nn.Module) -> list[torch.Tensor]:
    return [buffer.clone() for buffer in stage.buffers()]


def test_more_stages_than_there_are_are_refused() -> None:
    network = SceneNetwork(NetworkConfig(decoder_channels=16))
    with pytest.raises(ConfigError, match='frozen_stages is 5; mobilenet_v3_large has 4 stages'):
        freeze_stages(network, 5)
