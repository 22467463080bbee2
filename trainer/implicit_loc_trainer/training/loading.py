"""From samples to training batches: images cached in memory, order and views reproducible."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import (
    View,
    jitter_colour,
    random_view_change,
    render_view,
)

# Images are kept this much larger than the network's input, so that zooming in stays sharp.
_CACHE_SCALE = 1.5


class Batch(NamedTuple):
    """Tensors of one training step.

    Attributes:
        images: (B, 3, H, W) uint8.
        rays: unit-depth ray of every cell, (B, h, w, 3).
        valid: cells that look at pixels of the source image, (B, h, w).
        focal_length: (B,), pixels.
        world_from_camera: (B, 4, 4).
    """

    images: Tensor
    rays: Tensor
    valid: Tensor
    focal_length: Tensor
    world_from_camera: Tensor


@dataclass(frozen=True)
class _CachedFrame:
    image: NDArray[np.uint8]
    camera: Camera
    view_camera: Camera
    world_from_camera: NDArray[np.float64]
    ignored: NDArray[np.bool_] | None


class TrainingSet(Dataset[View]):
    """Views of a recording's frames; item number = epoch * frames + frame.

    The random numbers of a view follow from (seed, epoch, frame) alone, so a resumed training
    sees what the uninterrupted one would have seen.

    Args:
        samples: of the recording.
        input_height: of the network, pixels.
        stride: of the network's output.
        augmentation: how views vary.
        seed: of all random numbers.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        input_height: int,
        stride: int,
        augmentation: AugmentationConfig,
        seed: int,
    ) -> None:
        self._stride = stride
        self._augmentation = augmentation
        self._seed = seed
        self._frames = [_cache(sample, input_height) for sample in samples]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, item: int) -> View:
        epoch, index = divmod(item, len(self._frames))
        frame = self._frames[index]
        rng = np.random.default_rng([self._seed, epoch, index])
        return render_view(
            jitter_colour(frame.image, self._augmentation, rng),
            frame.camera,
            frame.view_camera,
            frame.world_from_camera,
            random_view_change(self._augmentation, rng),
            self._stride,
            frame.ignored,
        )


class EpochOrder(Sampler[int]):
    """The items of one epoch, shuffled; the order follows from (seed, epoch) alone."""

    def __init__(self, frames: int, seed: int) -> None:
        self._frames = frames
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each one, also after resuming."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._frames)
        return iter((self._epoch * self._frames + order).tolist())


def training_loader(
    dataset: TrainingSet, batch_size: int, seed: int, workers: int = 0, epoch: int = 0
) -> DataLoader[View]:
    """Batches in an order that follows from (seed, epoch).

    An incomplete last batch is dropped: its batch statistics would be poor.
    """
    order = EpochOrder(len(dataset), seed)
    order.set_epoch(epoch)
    return DataLoader(
        dataset,
        batch_sampler=BatchSampler(order, batch_size, drop_last=True),
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def collate(views: Sequence[View]) -> Batch:
    """Stack views of one size."""
    poses = np.stack([view.world_from_camera for view in views]).astype(np.float32)
    return Batch(
        images=torch.stack([preprocessing.to_tensor(view.image) for view in views]),
        rays=torch.from_numpy(np.stack([view.rays for view in views])),
        valid=torch.from_numpy(np.stack([view.valid for view in views])),
        focal_length=torch.tensor([view.focal_length for view in views], dtype=torch.float32),
        world_from_camera=torch.from_numpy(poses),
    )


def _cache(sample: Sample, input_height: int) -> _CachedFrame:
    height = min(round(input_height * _CACHE_SCALE), sample.camera.height)
    camera = preprocessing.input_camera(sample.camera, height)
    image = preprocessing.resize(sample.load_image(), camera.width, camera.height)
    view_camera = preprocessing.input_camera(sample.camera, input_height)
    ignored = None
    if sample.load_mask is not None:
        mask = sample.load_mask().astype(np.uint8)
        size = (camera.width, camera.height)
        ignored = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0
    return _CachedFrame(image, camera, view_camera, sample.world_from_camera, ignored)
