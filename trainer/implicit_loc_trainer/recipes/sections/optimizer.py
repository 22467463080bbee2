"""How the weights are found."""

from dataclasses import dataclass
from typing import Literal

from implicit_loc_trainer.recipes.sections.ranges import require


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser, its learning rate over time, and the training's phases.

    Attributes:
        kind: 'adamw' decays weights on their own, biases and norms not at all; 'adam' adds the
            decay of every parameter to its gradient (L2, the paper).
        schedule: 'one_cycle' rises to the learning rate and falls to nothing, with the momentum
            the other way round; 'constant' keeps both (the paper).
        epochs: passes over the recording.
        batch_size: images a step.
        learning_rate: at the peak of the cycle.
        weight_decay: of the kind above.
        clip_gradient: largest norm of the gradient; 0 = not clipped (the paper).
        warm_up_share: of all steps, with rising learning rate; 'one_cycle' alone.
        geometry_share: of all steps, at the beginning, without the pose loss; 0 = off.
        late_geometry_rate: afterwards the learning rate of all but the weights' head is
            multiplied by this.
        frozen_stages: of the backbone, from the finest on, which keep the weights that they start
            with: the finest stage costs most, and trained weights hold there for any place.
        ema_decay: of an exponential moving average of weights and batch statistics, which is
            validated and kept instead of the last weights; 0 = off.
    """

    kind: Literal['adamw', 'adam'] = 'adamw'
    schedule: Literal['one_cycle', 'constant'] = 'one_cycle'
    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip_gradient: float = 1.0
    warm_up_share: float = 0.05
    geometry_share: float = 0.0
    late_geometry_rate: float = 1.0
    frozen_stages: int = 0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        require('optimizer', self, at_least={'epochs': 1, 'batch_size': 2})
        require('optimizer', self, above={'learning_rate': 0})
        shares = dict.fromkeys(('warm_up_share', 'geometry_share', 'late_geometry_rate'), 1)
        zero = dict.fromkeys(
            (*shares, 'weight_decay', 'clip_gradient', 'ema_decay', 'frozen_stages'), 0
        )
        # A decay of 0.99999 averages over 100000 steps: more would never leave the start.
        require('optimizer', self, at_least=zero, at_most={**shares, 'ema_decay': 0.99999})
