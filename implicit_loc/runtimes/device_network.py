"""Everything that a GPU does to one image, as one module: bytes in, packed numbers out.

It runs on any device, so that what a captured graph computes can be checked without a GPU.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.device_solving import DeviceSolver, outcome
from implicit_loc.device_solving.outcome import Parts
from implicit_loc.network import SceneNetwork
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import packing
from implicit_loc.runtimes.base import Geometry
from implicit_loc.runtimes.device_resize import DeviceResize
from implicit_loc.runtimes.packing import Shapes

# The focal length travels in front of the pixels, which start at an aligned address.
_HEADER_BYTES = 16


class DeviceNetwork(nn.Module):
    """Resizing, normalising, the network, and solving for the pose.

    Args:
        network: in evaluation mode, of any precision.
        camera: of the images.
        resized: of the network's input.
        solver: None where no poses are wanted.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        network: SceneNetwork,
        camera: Camera,
        resized: Camera,
        solver: DeviceSolver | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.solver = solver
        self.resize = DeviceResize(camera.height, camera.width, resized.height, resized.width)
        mean, deviation = preprocessing.statistics(torch.device('cpu'))
        self.register_buffer('mean', mean)
        self.register_buffer('deviation', deviation)
        self._shapes: Shapes = {}
        self._solved_shapes: outcome.Shapes = ()
        self._shape = (camera.height, camera.width, 3)

    @property
    def upload_bytes(self) -> int:
        """Length of the upload."""
        return _HEADER_BYTES + int(np.prod(self._shape))

    def forward(self, upload: Tensor) -> tuple[Tensor, Tensor | None]:
        """Execute everything.

        Args:
            upload: filled by `fill`, on the device, (upload_bytes,) uint8.

        Returns:
            (N,) float32, for `read`, and the descriptors (h, w, C), float32, which are most of
            what there is and which hardly anybody needs once the pose is known; None of maps
            without landmarks.
        """
        focal_length = upload[:4].view(torch.float32)
        image = self.resize(upload[_HEADER_BYTES:].view(self._shape))
        images = preprocessing.normalise(image.permute(2, 0, 1)[None], (self.mean, self.deviation))
        kind = next(self.network.backbone.parameters()).dtype
        geometry = self.network(images.to(kind), focal_length)
        packed, self._shapes = packing.pack(replace(geometry, descriptors=None))
        if self.solver is not None:
            solved, self._solved_shapes = outcome.pack(self.solver(geometry))
            # In front, where they are aligned.
            packed = torch.cat([solved.view(torch.float32), packed])
        descriptors = geometry.descriptors
        return packed, None if descriptors is None else descriptors[0].float()

    def read(self, download: NDArray[np.float32]) -> tuple[Geometry, Parts | None]:
        """What `forward` gave, on the host: views, of a geometry without descriptors."""
        if self.solver is None:
            return packing.unpack(download, self._shapes), None
        count = 2 * sum(math.prod(shape) for shape in self._solved_shapes)
        parts = outcome.unpack(download[:count].view(np.float64), self._solved_shapes)
        return packing.unpack(download[count:], self._shapes), parts


def fill(upload: NDArray[np.uint8], image: ByteImage, focal_length: float) -> None:
    """Write an image and the focal length at the network's size, pixels, into an upload."""
    upload[:4].view(np.float32)[0] = focal_length
    np.copyto(upload[_HEADER_BYTES:].reshape(image.shape), image)
