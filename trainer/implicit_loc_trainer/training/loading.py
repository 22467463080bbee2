"""From samples to training batches: order and views are reproducible."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from implicit_loc import preprocessing
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.sections import AugmentationConfig
from implicit_loc_trainer.training.augmentation import (
    View,
    random_view_change,
    render_view,
    zoomed,
)
from implicit_loc_trainer.training.distributed.processes import own_share
from implicit_loc_trainer.training.erasing import erase
from implicit_loc_trainer.training.landmark_views import seen_landmarks
from implicit_loc_trainer.training.parallax import ParallaxMap
from implicit_loc_trainer.training.photometry import add_noise, jitter_colour


class Batch(NamedTuple):
    """Tensors of one training step.

    Attributes:
        images: (B, 3, H, W) uint8.
        rays: unit-depth ray of every cell, (B, h, w, 3).
        valid: cells that look at pixels of the source image, (B, h, w).
        focal_length: (B,), pixels.
        world_from_camera: (B, 4, 4).
        frames: number of the frame behind each view, (B,).
        has_orientation: whether the rotation of world_from_camera is known, (B,).
        landmarks: of every view, as in View, (B, N, 6); N = 0 where a view has none.
    """

    images: Tensor
    rays: Tensor
    valid: Tensor
    focal_length: Tensor
    world_from_camera: Tensor
    frames: Tensor
    has_orientation: Tensor
    landmarks: Tensor


class TrainingSet(Dataset[View]):
    """Views of a recording's frames; item number = epoch * frames + frame.

    The random numbers of a view follow from (seed, epoch, frame) alone, so a resumed training
    sees what the uninterrupted one would have seen.

    Args:
        samples: of the recording; their images are loaded for every view, so they should be
            cached ones (frame_cache).
        input_height: of the network, pixels.
        stride: of the network's output.
        augmentation: how views vary.
        seed: of all random numbers.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        input_height: int,
        stride: int,
        augmentation: AugmentationConfig,
        seed: int,
    ) -> None:
        self._stride = stride
        self._augmentation = augmentation
        self._seed = seed
        self._input_height = input_height
        self._samples = samples
        self._with_landmarks = any(sample.landmarks is not None for sample in samples)
        self._parallax_maps: dict[int, ParallaxMap | None] = {}

    def __len__(self) -> int:
        return len(self._samples)

    def name(self, frame: int) -> str:
        """The name of a frame in the recording."""
        return self._samples[frame].name

    def __getitem__(self, item: int) -> View:
        epoch, index = divmod(item, len(self._samples))
        sample = self._samples[index]
        rng = np.random.default_rng([self._seed, epoch, index])
        image = jitter_colour(sample.load_image(), self._augmentation, rng)
        change = random_view_change(self._augmentation, rng)
        camera = preprocessing.input_camera(sample.camera, self._input_height)
        view = render_view(
            image,
            sample.camera,
            camera,
            sample.world_from_camera,
            change,
            self._stride,
            sample.load_mask() if sample.load_mask is not None else None,
            self._augmentation.low_pass,
            self._surfaces(index),
        )
        noisy = replace(
            view,
            image=add_noise(view.image, self._augmentation, rng),
            frame=index,
            has_orientation=sample.has_orientation,
        )
        erased = erase(noisy, self._augmentation, self._stride, rng)
        if not self._with_landmarks:
            return erased
        # Last, so that a training without landmarks draws the same numbers.
        return seen_landmarks(erased, sample.landmarks, zoomed(camera, change.zoom), rng)

    def _surfaces(self, index: int) -> ParallaxMap | None:
        """Of a frame; kept, since every epoch needs it."""
        sample = self._samples[index]
        if not self._augmentation.move or sample.landmarks is None:
            return None
        if index not in self._parallax_maps:
            self._parallax_maps[index] = ParallaxMap.from_landmarks(
                sample.camera, sample.world_from_camera, sample.landmarks
            )
        return self._parallax_maps[index]


class EpochOrder(Sampler[int]):
    """The items of one epoch, shuffled; the order follows from (seed, epoch) alone."""

    def __init__(self, frames: int, seed: int) -> None:
        self._frames = frames
        self._seed = seed
        self._epoch = 0
        self._taken = (0, 0)

    def skip(self, epoch: int, items: int) -> None:
        """Begin an epoch after the items that an earlier process took; its length stays."""
        self._taken = (epoch, items)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each one, also after resuming."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._frames

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._frames)
        epoch, taken = self._taken
        rest = order[taken:] if self._epoch == epoch else order
        return iter((self._epoch * self._frames + rest).tolist())


class ShareOfBatches(BatchSampler):
    """The part of every batch that this process takes; all parts together are the batch."""

    def __iter__(self) -> Iterator[list[int]]:
        return map(own_share, super().__iter__())


def training_loader(
    dataset: TrainingSet,
    batch_size: int,
    seed: int,
    workers: int = 0,
    epoch: int = 0,
    first_batch: int = 0,
) -> DataLoader[View]:
    """Batches in an order that follows from (seed, epoch).

    An incomplete last batch is dropped: its batch statistics would be poor.

    Args:
        dataset: gives the views.
        batch_size: views a batch.
        seed: of the order.
        workers: helper processes that render views; 0 = none.
        epoch: the first one, where a training goes on.
        first_batch: of that epoch; those before it were taken by an earlier process.
    """
    order = EpochOrder(len(dataset), seed)
    order.skip(epoch, first_batch * batch_size)
    order.set_epoch(epoch)
    return DataLoader(
        dataset,
        batch_sampler=ShareOfBatches(order, batch_size, drop_last=True),
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
        frames=torch.tensor([view.frame for view in views]),
        has_orientation=torch.tensor([view.has_orientation for view in views]),
        landmarks=torch.from_numpy(np.stack([view.landmarks for view in views])),
    )
