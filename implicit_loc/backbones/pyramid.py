"""What every backbone is: an image in, features at several strides out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A feature extractor with one output for each of its strides.

    Attributes:
        strides: of the outputs, increasing powers of two.
        channels: of the outputs.
    """

    def __init__(self, strides: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.channels = tuple(channels)

    def keep(self, finest: int, coarsest: int) -> None:
        """Give no output outside these strides, and drop the layers that served only those."""
        kept = [i for i, stride in enumerate(self.strides) if finest <= stride <= coarsest]
        first, end = kept[0], kept[-1] + 1
        self._drop_outputs(first, end)
        self.strides, self.channels = self.strides[first:end], self.channels[first:end]

    @abstractmethod
    def _drop_outputs(self, first: int, end: int) -> None:
        """Keep the outputs [first, end) alone."""

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Features, fine to coarse, of a normalised image (B, 3, H, W).

        Returns:
            For each stride s: (B, channels, ceil(H / s), ceil(W / s)).
        """


class SequentialBackbone(Backbone):
    """Layers in sequence, cut where the resolution halves.

    Args:
        stages: the output of stage i has stride `strides[i]`.
        strides: see Backbone.
        channels: see Backbone.
    """

    def __init__(
        self, stages: Sequence[nn.Module], strides: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__(strides, channels)
        self.stages = nn.ModuleList(stages)
        self._first = 0

    def _drop_outputs(self, first: int, end: int) -> None:
        self.stages = self.stages[: self._first + end]
        self._first += first

    def forward(self, image: Tensor) -> list[Tensor]:
        """See Backbone."""
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features[self._first :]
