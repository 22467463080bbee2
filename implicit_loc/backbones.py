"""Feature pyramids by name. A new backbone is one builder and one line in the table."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large as torchvision_mobilenet_v3_large


class Backbone(nn.Module):
    """A feature extractor cut where the resolution halves.

    Args:
        stages: modules in sequence; the output of stage i has stride `strides[i]`.
        strides: increasing powers of two.
        channels: of each stage's output.
    """

    def __init__(
        self, stages: list[nn.Module], strides: tuple[int, ...], channels: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.strides = strides
        self.channels = channels

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every stage, fine to coarse: (B, channels[i], h / s, w / s), ceil."""
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


def mobilenet_v3_large() -> Backbone:
    """MobileNetV3-Large (Howard et al. 2019), untrained, without its classifier."""
    layers = list(torchvision_mobilenet_v3_large(weights=None).features)
    cuts = (0, 4, 7, 13, 17)
    stages: list[nn.Module] = [nn.Sequential(*layers[start:end]) for start, end in pairwise(cuts)]
    return Backbone(stages, strides=(4, 8, 16, 32), channels=(24, 40, 112, 960))


BACKBONES: dict[str, Callable[[], Backbone]] = {
    'mobilenet_v3_large': mobilenet_v3_large,
}
