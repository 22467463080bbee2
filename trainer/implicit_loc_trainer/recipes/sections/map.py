"""What a checkpoint holds beside its network."""

from dataclasses import dataclass

from implicit_loc_trainer.recipes.sections.ranges import require


@dataclass(frozen=True)
class MapConfig:
    """What a checkpoint holds beside its network.

    Attributes:
        landmarks: how many points of the recording at most, which a robot finds again in its
            images to refine its pose. 0 = none.
    """

    landmarks: int = 6000

    def __post_init__(self) -> None:
        require('map', self, at_least={'landmarks': 0})
