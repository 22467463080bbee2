"""The optimiser of a recipe and its learning rate over the steps of a training."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.recipes.sections import OptimizerConfig


def build_optimizer(
    config: OptimizerConfig, network: SceneNetwork, total_steps: int, fused: bool = False
) -> tuple[Optimizer, LRScheduler]:
    """The optimiser and the schedule, which is to be stepped after every batch.

    Args:
        config: of the recipe.
        network: to train.
        total_steps: of the whole training.
        fused: one operation for all weights; not together with a scaled loss (float16).
    """
    late_rates: list[float] = []
    groups: list[dict[str, object]] = []
    for parameters, late_rate in _parts(config, network):
        for decay, members in _by_decay(config, parameters):
            groups.append({'params': members, 'weight_decay': decay})
            late_rates.append(late_rate)
    kinds = {'adamw': AdamW, 'adam': Adam}
    optimizer = kinds[config.kind](groups, lr=config.learning_rate, fused=fused)
    first_late_step = config.geometry_share * total_steps
    if config.schedule == 'constant':
        rates = [_constant_rate(late_rate, first_late_step) for late_rate in late_rates]
        return optimizer, LambdaLR(optimizer, rates)
    return optimizer, _PhasedOneCycle(optimizer, config, total_steps, late_rates)


def in_geometry_phase(config: OptimizerConfig, progress: float) -> bool:
    """Whether the pose loss still waits, at a share of the training in [0, 1]."""
    return progress < config.geometry_share


def _parts(
    config: OptimizerConfig, network: SceneNetwork
) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters with the factor of their learning rate in the second phase."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if config.geometry_share == 0:
        return [(learned, 1.0)]
    weights = list(network.weight_head.parameters())
    chosen = {id(parameter) for parameter in weights}
    geometry = [parameter for parameter in learned if id(parameter) not in chosen]
    return [(geometry, config.late_geometry_rate), (weights, 1.0)]


def _by_decay(
    config: OptimizerConfig, parameters: list[nn.Parameter]
) -> list[tuple[float, list[nn.Parameter]]]:
    if config.kind == 'adam':
        return [(config.weight_decay, parameters)]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    return [(config.weight_decay, matrices), (0.0, vectors)]


def _constant_rate(late_rate: float, first_late_step: float) -> Callable[[int], float]:
    return lambda step: 1.0 if step < first_late_step else late_rate


class _PhasedOneCycle(OneCycleLR):
    """One cycle, in whose second phase some parameters move more slowly."""

    def __init__(
        self,
        optimizer: Optimizer,
        config: OptimizerConfig,
        total_steps: int,
        late_rates: list[float],
    ) -> None:
        self._late_rates = late_rates
        self._first_late_step = config.geometry_share * total_steps
        share = config.warm_up_share
        # PyTorch divides by the steps between the first and the last one of the warm-up.
        if share * total_steps == 1:
            share = 0.999 / total_steps
        super().__init__(
            optimizer,
            max_lr=config.learning_rate,
            total_steps=total_steps,
            pct_start=share,
        )

    def get_lr(self) -> list[float | Tensor]:
        """The rates of this step."""
        rates = super().get_lr()
        if self.last_epoch < self._first_late_step:
            return rates
        return [rate * late for rate, late in zip(rates, self._late_rates, strict=True)]
