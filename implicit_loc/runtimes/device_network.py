"""Everything that a GPU does to one image, as one module: bytes in, packed geometry out.

It runs on any device, so that what a captured graph computes can be checked without a GPU.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.network import SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import packing
from implicit_loc.runtimes.device_resize import DeviceResize
from implicit_loc.runtimes.packing import Shapes

# The focal length travels in front of the pixels, which start at an aligned address.
_HEADER_BYTES = 16


class DeviceNetwork(nn.Module):
    """Resizing, normalising and the network.

    Args:
        network: in evaluation mode, of any precision.
        camera: of the images.
        resized: of the network's input.

    Attributes:
        shapes: of what the newest result holds, for `packing.unpack`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: SceneNetwork, camera: Camera, resized: Camera) -> None:
        super().__init__()
        self.network = network
        self.resize = DeviceResize(camera.height, camera.width, resized.height, resized.width)
        mean, deviation = preprocessing.statistics(torch.device('cpu'))
        self.register_buffer('mean', mean)
        self.register_buffer('deviation', deviation)
        self.shapes: Shapes = {}
        self._shape = (camera.height, camera.width, 3)

    @property
    def upload_bytes(self) -> int:
        """Length of the upload."""
        return _HEADER_BYTES + int(np.prod(self._shape))

    def forward(self, upload: Tensor) -> Tensor:
        """Execute everything.

        Args:
            upload: filled by `fill`, on the device, (upload_bytes,) uint8.

        Returns:
            (N,) float32 as of `packing.pack`.
        """
        focal_length = upload[:4].view(torch.float32)
        image = self.resize(upload[_HEADER_BYTES:].view(self._shape))
        images = preprocessing.normalise(image.permute(2, 0, 1)[None], (self.mean, self.deviation))
        kind = next(self.network.backbone.parameters()).dtype
        packed, self.shapes = packing.pack(self.network(images.to(kind), focal_length))
        return packed


def fill(upload: NDArray[np.uint8], image: ByteImage, focal_length: float) -> None:
    """Write an image and the focal length at the network's size, pixels, into an upload."""
    upload[:4].view(np.float32)[0] = focal_length
    np.copyto(upload[_HEADER_BYTES:].reshape(image.shape), image)
