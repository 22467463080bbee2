"""What tests of the core share: cells and landmarks of a made-up camera, and what needs a GPU."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.camera import Camera, cell_pixels, output_size
from implicit_loc.cells import Cells
from implicit_loc.landmark_search import STRIDE, Landmarks, Sight
from implicit_loc.poses import exp_se3, exp_so3, rigid_transform, transform_points

FOCAL_LENGTH = 260.0

MakeCells = Callable[..., tuple[Cells, Tensor]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what only a GPU can show."""
    if item.get_closest_marker('needs_gpu') and not torch.cuda.is_available():
        pytest.skip('there is no CUDA device')


@pytest.fixture(scope='session')
def make_cells() -> MakeCells:
    """`make_cells(seed, batch, count, ...)` -> cells, world_from_camera (B, 4, 4)."""
    return _make_cells


def _make_cells(
    seed: int = 0,
    batch: int = 1,
    count: int = 60,
    noise: float = 0.02,
    outliers: float = 0.0,
    outlier_size: float = 2.0,
) -> tuple[Cells, Tensor]:
    """Points at 1 to 5 m, float64; noise and outlier_size in metres, outliers as a share."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        numbers = torch.rand(*shape, generator=generator, dtype=torch.float64)
        return low + (high - low) * numbers

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    pose = exp_se3(normal(batch, 6) * torch.tensor([3.0, 3.0, 3.0, 1.0, 1.0, 1.0]))
    rays = uniform(batch, count, 3, low=-0.6, high=0.6)
    rays[..., 2] = 1
    depth = uniform(batch, count, 1, low=1, high=5)
    world = transform_points(pose, depth * rays) + noise * normal(batch, count, 3)
    wrong = uniform(batch, count, 1) < outliers
    world = torch.where(wrong, world + outlier_size * normal(batch, count, 3), world)
    predicted = depth + noise * normal(batch, count, 1)
    focal_length = torch.full((batch,), FOCAL_LENGTH, dtype=torch.float64)
    weights = uniform(batch, count, low=0.1)
    return Cells(world, predicted * rays, rays, weights, focal_length), pose


@dataclass(frozen=True)
class KnownPlace:
    """Landmarks, one image of them, and from where it was taken.

    Attributes:
        sight: of the image.
        world_from_camera: (1, 4, 4).
        pixels: where the landmarks are in the image, (L, 2).
    """

    sight: Sight
    world_from_camera: Tensor
    pixels: NDArray[np.float64]


MakePlace = Callable[..., KnownPlace]

PLACE_CAMERA = Camera(320, 240, 263.0, 263.0, 159.5, 119.5)


@pytest.fixture(scope='session')
def make_place() -> MakePlace:
    """`make_place(seed, camera, ...)` -> landmarks in an image whose descriptors are known."""
    return _make_place


def _make_place(
    seed: int = 0,
    camera: Camera = PLACE_CAMERA,
    wrong: float = 0.0,
    offset: float = 0.0,
    channels: int = 128,
) -> KnownPlace:
    """Landmarks at 1.5 to 4 m, all over the image.

    Args:
        seed: of everything.
        camera: that took the image.
        wrong: share of the landmarks that look like nothing in the image.
        offset: of the world's origin, metres.
        channels: of the descriptors.
    """
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(np.arange(14, camera.width - 13, 20), np.arange(14, camera.height - 13, 20))
    pixels = np.stack(grid, axis=-1).reshape(-1, 2) + rng.uniform(-4, 4, (grid[0].size, 2))
    rays = camera.unproject(pixels)
    pixels, rays = pixels[np.isfinite(rays).all(axis=1)], rays[np.isfinite(rays).all(axis=1)]
    turn = exp_so3(torch.from_numpy(rng.normal(size=3)))
    position = torch.from_numpy(rng.normal(size=3) + offset)
    pose = rigid_transform(turn, position)[None]
    seen = rays * rng.uniform(1.5, 4.0, (len(rays), 1))
    positions = seen @ turn.numpy().T + position.numpy()
    to_camera = position.numpy() - positions
    distances = np.linalg.norm(to_camera, axis=1)
    descriptors = _unit(rng.normal(size=(len(rays), channels)))
    image = _rendered(pixels, descriptors, camera, rng)
    descriptors = np.where(
        rng.uniform(size=(len(rays), 1)) < wrong,
        _unit(rng.normal(size=descriptors.shape)),
        descriptors,
    )
    landmarks = Landmarks(
        positions, descriptors.astype(np.float32), to_camera / distances[:, None], distances
    )
    return KnownPlace(Sight(landmarks, image, camera), pose, pixels)


def _rendered(
    pixels: NDArray[np.float64],
    descriptors: NDArray[np.float64],
    camera: Camera,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Descriptors of an image, (h, w, C): of landmarks, fading away from them, and noise."""
    rows, columns = output_size(camera.width, camera.height, STRIDE)
    places = cell_pixels(range(rows), range(columns), STRIDE)
    image = 0.3 * _unit(rng.normal(size=(rows, columns, descriptors.shape[1])))
    for pixel, descriptor in zip(pixels, descriptors, strict=True):
        squared = np.square((places - pixel) / STRIDE).sum(axis=-1)
        near = squared < 4
        image[near] = (1 - squared[near] / 5)[:, None] * descriptor
    return image.astype(np.float32)


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))
