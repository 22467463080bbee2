"""The layout of the network."""

from dataclasses import dataclass

from implicit_loc.errors import CheckpointError
from implicit_loc.network import NetworkLayout
from implicit_loc_trainer.recipes.sections.ranges import ConfigError, require

SCENE_CENTRES = ('cameras', 'origin')


@dataclass(frozen=True)
class NetworkSection(NetworkLayout):
    """Layout of the network; what depends on the data is filled in by the trainer.

    Attributes:
        input_height: to which images are resized, pixels.
        scene_centre: about which world points are predicted: the mean position of the training's
            'cameras', or the 'origin' of the world.
        backbone_weights: with which the backbone starts: a file (.pth or .safetensors) with the
            weights that its authors trained, or 'installed' for those of an installed package;
            empty = from scratch. Without effect where run.start_from gives all weights.
    """

    input_height: int = 240
    scene_centre: str = 'cameras'
    backbone_weights: str = ''

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except CheckpointError as error:
            raise ConfigError(f'network: {error}') from error
        require('network', self, at_least={'input_height': 32})
        if self.scene_centre not in SCENE_CENTRES:
            raise ConfigError(
                f'network.scene_centre is {self.scene_centre!r}; '
                f'it must be one of {", ".join(SCENE_CENTRES)}'
            )
