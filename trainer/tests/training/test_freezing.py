"""Frozen stages stay as they are, weights and batch statistics."""

import pytest
import torch

from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc_trainer.recipes.sections import ConfigError, OptimizerConfig
from implicit_loc_trainer.training.freezing import freeze_stages
from implicit_loc_trainer.training.optimisation import build_optimizer


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


def test_more_stages_than_there_are_are_refused() -> None:
    network = SceneNetwork(NetworkConfig(decoder_channels=16))
    with pytest.raises(ConfigError, match='frozen_stages is 5; mobilenet_v3_large has 4 stages'):
        freeze_stages(network, 5)
