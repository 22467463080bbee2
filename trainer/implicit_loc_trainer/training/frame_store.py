"""Where the resized frames of a training lie: one block of bytes in memory, or in a file.

Helper processes share the pages of either.
"""

import errno
import json
import mmap
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.output_files import OutputError
from implicit_loc_trainer.training.memory import readable_bytes

ByteImage = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_FRAMES = 'frames.bin'
_FINISHED = 'finished.bin'
_ABOUT = 'about.json'

# A full disk, a quota, and a limit on the size of files.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class FrameSize:
    """What one frame takes.

    Attributes:
        height: pixels.
        width: pixels.
        masked: whether a mask of the same size follows the image.
    """

    height: int
    width: int
    masked: bool

    @property
    def bytes(self) -> int:
        """Of the image (three channels) and its mask."""
        return self.height * self.width * (4 if self.masked else 3)


class FrameStore(Protocol):
    """Frames by their number."""

    def write(self, index: int, image: ByteImage, ignored: Mask | None) -> None:
        """Keeps a frame; helper processes may call this for different frames at once."""

    def image(self, index: int) -> ByteImage:
        """(H, W, 3), of the size that was announced."""

    def ignored(self, index: int) -> Mask:
        """(H, W), of a frame with a mask."""


class _Block:
    """Cuts frames out of a block of bytes."""

    def __init__(self, sizes: Sequence[FrameSize]) -> None:
        self.sizes = sizes
        self.offsets = list(accumulate((size.bytes for size in sizes), initial=0))
        self.data: mmap.mmap | None = None

    def image(self, index: int) -> ByteImage:
        """(H, W, 3)."""
        size = self.sizes[index]
        return self._cut(index, 0, 3).reshape(size.height, size.width, 3)

    def ignored(self, index: int) -> Mask:
        """(H, W)."""
        size = self.sizes[index]
        return self._cut(index, 3, 1).reshape(size.height, size.width).view(np.bool_)

    def _cut(self, index: int, first: int, channels: int) -> ByteImage:
        assert self.data is not None
        pixels = self.sizes[index].height * self.sizes[index].width
        offset = self.offsets[index] + first * pixels
        return np.frombuffer(self.data, np.uint8, channels * pixels, offset)


class MemoryStore(_Block):
    """Frames in memory that helper processes share."""

    def __init__(self, sizes: Sequence[FrameSize]) -> None:
        super().__init__(sizes)
        self.data = mmap.mmap(-1, self.offsets[-1])

    def write(self, index: int, image: ByteImage, ignored: Mask | None) -> None:
        """Keeps a frame."""
        assert self.data is not None
        content = _content(image, ignored)
        self.data[self.offsets[index] : self.offsets[index] + len(content)] = content


class DiskStore(_Block):
    """Frames in a folder; which of them are whole outlives a kill or a loss of power.

    One process at a time may write: its caller holds a lock.

    Args:
        folder: of this store alone; it exists.
        sizes: of all frames.
        about: written beside the frames, for people.

    Raises:
        OutputError: the disk has no room; nothing stays on it.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, sizes: Sequence[FrameSize], about: dict[str, object]) -> None:
        super().__init__(sizes)
        self.folder = folder
        self._about = about
        self._open()

    def write(self, index: int, image: ByteImage, ignored: Mask | None) -> None:
        """Keeps a frame, which counts as finished once it is committed."""
        content, offset = _content(image, ignored), self.offsets[index]
        # No write into mapped memory: there a full disk is a SIGBUS.
        while content:
            written = os.pwrite(self._file, content, offset)
            content, offset = content[written:], offset + written

    def commit(self, indices: Iterable[int]) -> None:
        """Marks frames as finished, after their bytes are on the disk."""
        os.fsync(self._file)
        for index in indices:
            os.pwrite(self._marks, b'\1', index)
            self.finished[index] = True
        os.fsync(self._marks)

    def forget(self) -> None:
        """Begins anew; a training that reads the old frames keeps them until its end."""
        self.close_for_writing()
        _discard(self.folder)
        self._open()

    def close_for_writing(self) -> None:
        """The frames stay readable."""
        os.close(self._file)
        os.close(self._marks)

    def _open(self) -> None:
        self._reserve()
        self._file = os.open(self.folder / _FRAMES, os.O_RDWR)
        self._marks = os.open(self.folder / _FINISHED, os.O_RDWR | os.O_CREAT, 0o644)
        frames = len(self.sizes)
        marks = os.pread(self._marks, frames, 0).ljust(frames, b'\0')
        self.finished = np.frombuffer(marks, np.uint8) == 1
        self.data = mmap.mmap(self._file, self.offsets[-1], access=mmap.ACCESS_READ)

    def _reserve(self) -> None:
        frames, size = self.folder / _FRAMES, self.offsets[-1]
        if frames.is_file() and frames.stat().st_size == size:
            return
        _discard(self.folder)
        (self.folder / _ABOUT).write_text(json.dumps(self._about, indent=2), encoding='utf-8')
        file = os.open(frames, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            _discard(self.folder)
            if error.errno not in _NO_SPACE:
                raise
            raise OutputError(
                f'the frames take {readable_bytes(size)} on disk, which {self.folder} has no room '
                f'for ({error.strerror}): make room, or choose another data.cache_folder'
            ) from error
        finally:
            os.close(file)


def _discard(folder: Path) -> None:
    # The marks first: frames without marks count for nothing.
    (folder / _FINISHED).unlink(missing_ok=True)
    (folder / _FRAMES).unlink(missing_ok=True)


def _content(image: ByteImage, ignored: Mask | None) -> bytes:
    return image.tobytes() + (b'' if ignored is None else ignored.tobytes())
