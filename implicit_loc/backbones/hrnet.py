"""HRNetV2 through timm, an optional dependency."""

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from implicit_loc.backbones.pyramid import Backbone
from implicit_loc.errors import CheckpointError

_STRIDES = (4, 8, 16, 32)


class HighResolutionBackbone(Backbone):
    """Four resolutions side by side, fused again and again.

    Args:
        network: timm's, which returns all four.
        channels: of the four.
    """

    def __init__(self, network: nn.Module, channels: tuple[int, ...]) -> None:
        super().__init__(_STRIDES, channels)
        self.network = network

    def _drop_outputs(self, first: int, end: int) -> None:
        # Each output is one list of layers of the last fusion; all that comes before is shared.
        last = cast(nn.Sequential, self.network.stage4)[-1]
        last.fuse_layers = cast(nn.ModuleList, last.fuse_layers)[first:end]

    def forward(self, image: Tensor) -> list[Tensor]:
        """See Backbone."""
        height, width = image.shape[-2:]
        # Its upsampling doubles, so that the coarsest grid must divide the image.
        padded = functional.pad(image, (0, -width % _STRIDES[-1], 0, -height % _STRIDES[-1]))
        return [
            features[..., : -(-height // stride), : -(-width // stride)]
            for features, stride in zip(self.network(padded), self.strides, strict=True)
        ]


def hrnetv2() -> HighResolutionBackbone:
    """HRNetV2-W18 (Wang et al. 2020), untrained, without its classifier.

    Raises:
        CheckpointError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise CheckpointError(
            f"the backbone 'hrnetv2' needs timm ({error}): install it with `pip install timm`"
        ) from error
    network = timm.create_model(
        'hrnet_w18', features_only=True, feature_location='', out_indices=(1, 2, 3, 4)
    )
    channels = cast(Any, network).feature_info.channels()
    return HighResolutionBackbone(network, tuple(channels))
