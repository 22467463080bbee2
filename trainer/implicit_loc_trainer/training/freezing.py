"""Stages of the backbone that keep the weights that they start with."""

from implicit_loc.backbones.pyramid import SequentialBackbone
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.recipes.sections import ConfigError


def freeze_stages(network: SceneNetwork, count: int) -> None:
    """Freezes weights and batch statistics; to be called again after network.train().

    Args:
        network: to train.
        count: of stages, from the finest on.

    Raises:
        ConfigError: the backbone has fewer.
    """
    backbone = network.backbone
    stages = list(backbone.stages) if isinstance(backbone, SequentialBackbone) else []
    if count > len(stages):
        raise ConfigError(
            f'optimizer.frozen_stages is {count}; '
            f'{network.config.backbone} has {len(stages)} stages in sequence'
        )
    for stage in stages[:count]:
        stage.requires_grad_(False)
        stage.eval()
