"""Frames of a recording, decoded and resized by helper processes."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from implicit_loc import preprocessing
from implicit_loc.errors import ImplicitLocError
from implicit_loc.preprocessing import ByteImage
from implicit_loc_trainer.datasets import DataError, Sample, open_dataset
from implicit_loc_trainer.recipes.sections import DataConfig
from implicit_loc_trainer.training.frame_store import (
    DiskStore,
    FrameSize,
    FrameStore,
    MemoryStore,
)

# Below this number of frames, helper processes cost more than they bring.
_FRAMES_WORTH_HELPERS = 50
_MOST_HELPERS = 8

_LARGEST_BAD_SHARE = 0.01


@dataclass(frozen=True)
class Outcome:
    """Of one frame; without a problem it is in the store."""

    index: int
    problem: str = ''
    is_fatal: bool = False


class BadFrames:
    """Frames that cannot be read, up to the number that a training bears."""

    def __init__(self, frames: int, config: DataConfig) -> None:
        self.problems: dict[int, str] = {}
        self._frames = frames
        self._config = config

    def note(self, outcome: Outcome) -> None:
        """Takes the outcome of a frame.

        Raises:
            DataError: now there are too many.
        """
        if outcome.is_fatal:
            raise DataError(outcome.problem)
        if not outcome.problem:
            return
        self.problems[outcome.index] = outcome.problem
        if len(self.problems) <= _LARGEST_BAD_SHARE * self._frames:
            return
        path, split = self._config.path, self._config.train_split
        orientations = not self._config.positions_only
        try:
            open_dataset(path, split if split in ('train', 'test') else Path(split), orientations)
        except (ImplicitLocError, OSError) as error:
            raise DataError(
                f'the recording {path} vanished while its frames were read ({error}): '
                'bring it back, and the same command goes on'
            ) from error
        first = '; '.join(list(self.problems.values())[:3])
        raise DataError(
            f'{len(self.problems)} frames of {self._frames} cannot be read so far, more than '
            f'one in a hundred: {first}'
        )


def resized(sample: Sample, size: FrameSize) -> tuple[ByteImage, NDArray[np.bool_] | None]:
    """Image and mask of a frame at another size.

    Raises:
        DataError: one of them cannot be read.
    """
    image = preprocessing.resize(sample.load_image(), size.width, size.height)
    if sample.load_mask is None:
        return image, None
    mask, shape = sample.load_mask().astype(np.uint8), (size.width, size.height)
    return image, cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST) > 0


class _Decoding(Dataset[Outcome]):
    """Decodes, resizes and stores a frame per item."""

    def __init__(
        self, samples: Sequence[Sample], store: FrameStore, sizes: Sequence[FrameSize]
    ) -> None:
        self._samples = samples
        self._store = store
        self._sizes = sizes

    def __getitem__(self, index: int) -> Outcome:
        sample, size = self._samples[index], self._sizes[index]
        try:
            image, ignored = resized(sample, size)
        except (ImplicitLocError, OSError) as error:
            return Outcome(index, f'frame {sample.name}: {error}')
        try:
            self._store.write(index, image, ignored)
        except OSError as error:
            return Outcome(index, f'the frames cannot be kept: {error.strerror}', is_fatal=True)
        return Outcome(index)


def decode(
    samples: Sequence[Sample],
    store: MemoryStore | DiskStore,
    indices: Sequence[int],
    console: Console,
    processes: int,
) -> Iterator[Outcome]:
    """Decodes frames into a store, in the order of their indices, under a progress bar.

    Args:
        samples: of the recording.
        store: takes the frames.
        indices: of the frames to decode.
        console: for the bar.
        processes: on this machine that do the same, and share its cores.

    Raises:
        DataError: a helper process died.
    """
    helpers = min(len(os.sched_getaffinity(0)) // processes, _MOST_HELPERS)
    if helpers < 2 or len(indices) < _FRAMES_WORTH_HELPERS:
        helpers = 0
    loader: Iterable[Outcome] = DataLoader(
        _Decoding(samples, store, store.sizes),
        sampler=indices,
        batch_size=None,
        num_workers=helpers,
        # The store is memory and files of this process, which a fork shares.
        multiprocessing_context='fork' if helpers else None,
    )
    try:
        yield from track(
            loader,
            'reading frames',
            total=len(indices),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    except RuntimeError as error:
        # The loader's own words for a helper that the system killed.
        if 'DataLoader worker' not in str(error):
            raise
        raise DataError(
            f'a process that reads frames died ({error}): is there enough memory?'
        ) from error
