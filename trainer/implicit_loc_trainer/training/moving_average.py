"""An average over the last steps of a training, which is steadier than its last weights."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from implicit_loc.network import SceneNetwork


class MovingAverage(nn.Module):
    """Exponential moving average of a network's weights and batch statistics.

    Args:
        network: whose average is to be kept; the average begins with its weights.
        decay: share of the average that a step keeps, in [0, 1).
    """

    def __init__(self, network: SceneNetwork, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: SceneNetwork, steps: int) -> None:
        """Take in the weights after a number of steps."""
        # Random weights of the beginning would otherwise stay in the average of a short training.
        decay = min(self._decay, (1 + steps) / (10 + steps))
        averaged, current = [], []
        for old, new in zip(_tensors(self.network), _tensors(network), strict=True):
            if torch.is_floating_point(old):
                averaged.append(old)
                current.append(new)
            else:
                old.copy_(new)
        get_ema_multi_avg_fn(decay)(averaged, current, steps)


def _tensors(network: SceneNetwork) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]
