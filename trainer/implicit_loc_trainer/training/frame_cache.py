"""Resizes the frames of a recording once and keeps them, in memory or on disk."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.recipes.sections import ConfigError, DataConfig
from implicit_loc_trainer.training.folder_lock import folder_lock
from implicit_loc_trainer.training.frame_decoding import BadFrames, Outcome, decode, resized
from implicit_loc_trainer.training.frame_store import (
    DiskStore,
    FrameSize,
    FrameStore,
    MemoryStore,
)
from implicit_loc_trainer.training.memory import available_memory, readable_bytes

# Images are kept this much larger than the network's input, so that zooming in stays sharp.
_CACHE_SCALE = 1.5

# Part of the key of frames on disk: to be raised when what is stored changes.
_FORMAT = 1

_LARGEST_MEMORY_SHARE = 0.5
_SECONDS_BETWEEN_COMMITS = 5.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class FrameCache:
    """The frames of a recording at the size from which training views are rendered.

    Attributes:
        samples: of the recording.
        input_height: of the network, pixels.
        config: says where the frames are kept.
        console: takes what is said, and a progress bar.
        processes: that train on this machine; in memory, each has the frames for itself.
    """

    samples: Sequence[Sample]
    input_height: int
    config: DataConfig
    console: Console
    processes: int = 1

    def choose_disk(self) -> bool:
        """Says what the frames take, before it is taken, and where they go.

        Raises:
            ConfigError: they are to be kept in memory, which has no room for them.
        """
        sizes, available = self._sizes(), available_memory()
        needed = self.processes * sum(size.bytes for size in sizes)
        largest = max(sizes, key=lambda size: size.bytes)
        size = f'{largest.width}x{largest.height}'
        text = f'{len(sizes)} frames of {size} take {readable_bytes(needed)}'
        if self.processes > 1:
            text += f' in {self.processes} processes'
        if available is not None:
            text += f', {readable_bytes(available)} of memory are available'
        is_much = available is not None and needed > _LARGEST_MEMORY_SHARE * available
        on_disk = self.config.cache == 'disk' or (self.config.cache == 'auto' and is_much)
        self._say(f'{text}: they are kept {"on disk" if on_disk else "in memory"}')
        if not on_disk and available is not None and needed > available:
            raise ConfigError(f'{text}: choose --data.cache disk')
        return on_disk

    def frames(self, on_disk: bool) -> list[Sample]:
        """The samples, resized and at hand; they need the recording no more.

        A frame that cannot be read is named, and a neighbour takes its place, so that the number
        of frames and with it the order of the training stay the same.

        Raises:
            DataError: more than one frame in a hundred cannot be read.
            OutputError: the disk has no room.
            OSError: the folder on the disk cannot be written.
        """
        sizes = self._sizes()
        store, bad = self._on_disk(sizes) if on_disk else self._in_memory(sizes)
        for index in sorted(bad):
            self._say(f'left out: {bad[index]}')
        count = len(self.samples)
        good = np.setdiff1d(np.arange(count), list(bad))
        # The nearest readable frame before, or else the first one.
        nearest = np.searchsorted(good, np.arange(count), 'right') - 1
        return [self._at_hand(store, int(index)) for index in good[np.maximum(nearest, 0)]]

    def _sizes(self) -> list[FrameSize]:
        cameras = [self._camera(sample) for sample in self.samples]
        return [
            FrameSize(camera.height, camera.width, sample.load_mask is not None)
            for sample, camera in zip(self.samples, cameras, strict=True)
        ]

    def _camera(self, sample: Sample) -> Camera:
        height = min(round(self.input_height * _CACHE_SCALE), sample.camera.height)
        return preprocessing.input_camera(sample.camera, height)

    def _at_hand(self, store: FrameStore, index: int) -> Sample:
        sample = self.samples[index]
        return replace(
            sample,
            camera=self._camera(sample),
            load_image=partial(store.image, index),
            load_mask=partial(store.ignored, index) if sample.load_mask is not None else None,
            load_depth=None,
        )

    def _in_memory(self, sizes: Sequence[FrameSize]) -> tuple[FrameStore, dict[int, str]]:
        store, bad = MemoryStore(sizes), BadFrames(len(sizes), self.config)
        for outcome in self._decode(store, range(len(sizes))):
            bad.note(outcome)
        return store, bad.problems

    def _on_disk(self, sizes: Sequence[FrameSize]) -> tuple[FrameStore, dict[int, str]]:
        folder = cache_root(self.config) / _key(self.samples, sizes, self.config)
        folder.mkdir(parents=True, exist_ok=True)
        self._say(f'they are in {folder}')
        about = {'recording': self.config.path, 'frames': len(sizes), 'format': _FORMAT}
        with folder_lock(folder, '.lock', 'wait for it', self._say_waiting):
            store = DiskStore(folder, sizes, about)
            try:
                if not _is_current(store, self.samples):
                    self._say('images or masks have changed since: they are read again')
                    store.forget()
                bad = self._complete(store)
            finally:
                store.close_for_writing()
        return store, bad

    def _complete(self, store: DiskStore) -> dict[int, str]:
        """Decodes what the store lacks; what it has stays, whatever happens."""
        missing = np.flatnonzero(~store.finished).tolist()
        bad, committed = BadFrames(len(store.sizes), self.config), time.monotonic()
        fresh: list[int] = []
        try:
            for outcome in self._decode(store, missing):
                if not outcome.problem:
                    fresh.append(outcome.index)
                bad.note(outcome)
                if time.monotonic() - committed > _SECONDS_BETWEEN_COMMITS:
                    store.commit(fresh)
                    fresh, committed = [], time.monotonic()
        finally:
            store.commit(fresh)
        return bad.problems

    def _decode(self, store: MemoryStore | DiskStore, indices: Sequence[int]) -> Iterator[Outcome]:
        return decode(self.samples, store, indices, self.console, self.processes)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _say_waiting(self, holder: str) -> None:
        self._say(f'waiting for {holder}, which reads the same frames')


def shrunk_in_memory(
    samples: Sequence[Sample], input_height: int, report: Report, purpose: str = 'validation'
) -> list[Sample]:
    """Frames at the size of the network's input, kept in memory: for a validation, for instance.

    A localizer gives the same poses for them as for the whole images, which it would resize in
    the same way. Frames that cannot be read are named and left out.

    Raises:
        DataError: none can be read.
    """
    kept, problem = [], ''
    for sample in samples:
        camera = preprocessing.input_camera(sample.camera, input_height)
        try:
            image = preprocessing.resize(sample.load_image(), camera.width, camera.height)
        except (ImplicitLocError, OSError) as error:
            problem = f'frame {sample.name}: {error}'
            report(f'left out of the {purpose}: {problem}')
            continue
        at_hand = partial(_same, image)
        kept.append(replace(sample, camera=camera, load_image=at_hand, load_depth=None))
    if samples and not kept:
        raise DataError(f'no {purpose} frame can be read; the last one: {problem}')
    return kept


def _is_current(store: DiskStore, samples: Sequence[Sample]) -> bool:
    """Whether a few finished frames are still what the recording gives."""
    finished = np.flatnonzero(store.finished)
    for index in finished[:: max(1, len(finished) // 3)].tolist():
        try:
            image, ignored = resized(samples[index], store.sizes[index])
        except (ImplicitLocError, OSError):
            continue
        if not np.array_equal(image, store.image(index)):
            return False
        if ignored is not None and not np.array_equal(ignored, store.ignored(index)):
            return False
    return True


def cache_root(config: DataConfig) -> Path:
    """The folder of what can be made again from recordings."""
    if config.cache_folder:
        return Path(config.cache_folder)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'implicit_loc'


def _key(samples: Sequence[Sample], sizes: Sequence[FrameSize], config: DataConfig) -> str:
    """Differs wherever the stored bytes do, but for images that were changed in place."""
    digest = hashlib.sha256(f'{_FORMAT} {Path(config.path).resolve()}'.encode())
    for sample, size in zip(samples, sizes, strict=True):
        digest.update(f'{sample.name} {size}'.encode())
    return f'{Path(config.path).name or "recording"}-{digest.hexdigest()[:16]}'


def _same(image: preprocessing.ByteImage) -> preprocessing.ByteImage:
    return image
