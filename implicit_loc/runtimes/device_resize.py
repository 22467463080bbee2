"""`preprocessing.resize` as two matrix products, for devices on which OpenCV does not run."""

import torch
from torch import Tensor, nn

# In grey levels: OpenCV weighs with 11 bits, and in float32 halves are not always halves.
TOLERANCE = 1


class DeviceResize(nn.Module):
    """Resizes (H, W, 3) uint8 to (h, w, 3) float32 that holds whole grey levels.

    Within TOLERANCE of `preprocessing.resize`.

    Args:
        height: of the image.
        width: of the image.
        resized_height: of the result.
        resized_width: of the result.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, resized_height: int, resized_width: int) -> None:
        super().__init__()
        weights = _area_weights if resized_height < height else _linear_weights
        self.register_buffer('rows', weights(height, resized_height))
        self.register_buffer('columns', weights(width, resized_width))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        values = image.float()
        height, width, channels = values.shape
        resized_height, resized_width = len(self.rows), len(self.columns)
        if resized_height != height:
            flat = self.rows @ values.reshape(height, width * channels)
            values = flat.reshape(resized_height, width, channels)
        if resized_width != width:
            values = self.columns @ values
        # Halves go up, as in OpenCV's integer arithmetic.
        return (values + 0.5).floor().clamp(0, 255)


def _area_weights(size: int, resized: int) -> Tensor:
    """Share of each pixel in the stretch that a resized pixel covers, (resized, size)."""
    edges = torch.arange(resized + 1, dtype=torch.float64) * (size / resized)
    pixels = torch.arange(size, dtype=torch.float64)
    last = torch.minimum(edges[1:, None], pixels + 1)
    first = torch.maximum(edges[:-1, None], pixels)
    overlap = (last - first).clamp_min(0)
    return (overlap / overlap.sum(dim=1, keepdim=True)).float()


def _linear_weights(size: int, resized: int) -> Tensor:
    """Interpolation between the two nearest pixel centres, (resized, size)."""
    centres = (torch.arange(resized, dtype=torch.float64) + 0.5) * (size / resized) - 0.5
    distance = (centres.clamp(0, size - 1)[:, None] - torch.arange(size)).abs()
    return (1 - distance).clamp_min(0).float()
