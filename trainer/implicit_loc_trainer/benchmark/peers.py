"""What people would use instead of this software, on the same images.

`paper_pose` is the method of Altillawi et al. 2023 as one reads it: PyTorch's own operations one
after the other, float32, contiguous, and the singular value decomposition of equation 4.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from implicit_loc.backbones.pyramid import Backbone
from implicit_loc.camera import Camera
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.preprocessing import MEAN, STANDARD_DEVIATION, input_camera

ByteImage = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

# Altillawi et al. 2023, IV-C: the backbone by which it is fastest and most precise.
_PAPER_BACKBONE = 'mobilenet_v3_large'


def paper_network(config: NetworkConfig) -> SceneNetwork:
    """The published network with random weights, of the given output stride."""
    torch.manual_seed(0)
    layout = NetworkConfig(
        backbone=_PAPER_BACKBONE, stride=config.stride, coarsest_stride=32, canonical_depth=False
    )
    return SceneNetwork(layout).eval()


def without_landmarks(network: SceneNetwork) -> SceneNetwork:
    """The network without the descriptors of a map, which the published method does not have."""
    network.landmarks = None
    return network


class PaperPose:
    """The straightforward reading of the paper: an image to a pose.

    Args:
        network: without landmarks; becomes contiguous float32.
        input_height: of the network's input, pixels.
        device: on which all of it runs.
    """

    def __init__(self, network: SceneNetwork, input_height: int, device: torch.device) -> None:
        self._network = network.float().to(device).to(memory_format=torch.contiguous_format)
        self._input_height = input_height
        self._device = device

    def __call__(self, image: ByteImage, camera: Camera) -> FloatArray:
        """world_from_camera, (4, 4), of an image (H, W, 3)."""
        resized = input_camera(camera, self._input_height)
        with torch.no_grad():
            tensor = network_input(image, resized).to(self._device)
            focal_length = torch.tensor([resized.focal_length], device=self._device)
            predicted = self._network(tensor, focal_length)
            rays = torch.from_numpy(resized.rays(self._network.config.stride).copy())
            camera_points = predicted.camera_points(rays.to(self._device))
            pose = align_by_svd(
                predicted.world_points.reshape(-1, 3),
                camera_points.reshape(-1, 3),
                predicted.weights.reshape(-1),
            )
        return pose.double().cpu().numpy()


def network_input(image: ByteImage, resized: Camera) -> Tensor:
    """(1, 3, H, W) float32, contiguous, of an image of any size; resized as PyTorch users do."""
    if image.shape[:2] != (resized.height, resized.width):
        size = (resized.width, resized.height)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255.0
    mean = torch.tensor(MEAN)[:, None, None]
    deviation = torch.tensor(STANDARD_DEVIATION)[:, None, None]
    return ((tensor - mean) / deviation)[None]


def align_by_svd(world_points: Tensor, camera_points: Tensor, weights: Tensor) -> Tensor:
    """Weighted Kabsch (Altillawi et al. 2023, eq. 2-4).

    Args:
        world_points: (N, 3), metres.
        camera_points: (N, 3), metres.
        weights: (N,), non-negative.

    Returns:
        world_from_camera, (4, 4).
    """
    shares = (weights / weights.sum())[:, None]
    world_mean = (shares * world_points).sum(dim=0)
    camera_mean = (shares * camera_points).sum(dim=0)
    covariance = (shares * (world_points - world_mean)).T @ (camera_points - camera_mean)
    left, _, right = torch.linalg.svd(covariance)
    sign = torch.det(left @ right)
    rotation = left @ torch.diag(torch.stack([sign.new_ones(()), sign.new_ones(()), sign])) @ right
    pose = torch.eye(4, device=world_points.device)
    pose[:3, :3] = rotation
    pose[:3, 3] = world_mean - rotation @ camera_mean
    return pose


class BareBackbone(nn.Module):
    """A backbone as the network uses it: without what is coarser than its coarsest features."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """The coarsest features of a normalised image (B, 3, H, W)."""
        return self.backbone(images)[-1]


class PoseRegression(BareBackbone):
    """A pose straight from the features (PoseNet, Kendall et al. 2015): pooling and one layer."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.output = nn.Linear(backbone.channels[-1], 7)

    def forward(self, images: Tensor) -> Tensor:
        """Position and unit quaternion (B, 7) of normalised images (B, 3, H, W)."""
        pose = self.output(super().forward(images).mean(dim=(2, 3)))
        return torch.cat([pose[:, :3], nn.functional.normalize(pose[:, 3:], dim=-1)], dim=-1)


Execution = Callable[[Tensor], object]


def eager(module: nn.Module, device: torch.device) -> Execution:
    """PyTorch at its best without a compiler: channels last, and half precision on a GPU."""
    module = module.eval().to(device).to(memory_format=torch.channels_last)
    is_cuda = device.type == 'cuda'

    def run(images: Tensor) -> object:
        with torch.inference_mode(), torch.autocast('cuda', enabled=is_cuda):
            # The download waits for the device, as who wants a pose does.
            moved = images.to(device).to(memory_format=torch.channels_last)
            return module(moved).float().cpu()

    return run
