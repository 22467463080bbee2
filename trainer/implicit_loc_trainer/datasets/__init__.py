"""Readers of posed recordings: one file and one line in the table each."""

from pathlib import Path
from typing import Protocol

from implicit_loc_trainer.datasets import (
    cambridge,
    colmap,
    demo_room,
    redkitchen,
    rosbag2,
    seven_scenes,
    tum,
    twelve_scenes,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample, check_orientations

__all__ = ['FORMATS', 'DataError', 'Sample', 'open_dataset']


class Reader(Protocol):
    """A module that reads one format."""

    def matches(self, path: Path) -> bool:
        """Whether the data at this path has this format."""

    def read(self, path: Path, split: str | Path) -> list[Sample]:
        """The frames of a split, in the order of the recording."""


FORMATS: dict[str, Reader] = {
    'demo-room': demo_room,
    'redkitchen': redkitchen,
    '7-scenes': seven_scenes,
    '12-scenes': twelve_scenes,
    'cambridge': cambridge,
    'colmap': colmap,
    'tum': tum,
    'rosbag2': rosbag2,
}


def open_dataset(
    path: str | Path, split: str | Path = 'train', orientations: bool = True
) -> list[Sample]:
    """Read the frames of a recording.

    Args:
        path: the recording, or the name of a built-in one ('demo-room').
        split: 'train', 'test', or a text file that lists frame names, one a line.
        orientations: whether frames of which only the position is known are of no use.

    Raises:
        DataError: no reader knows the format, the data is malformed, or orientations are needed
            and not known.
    """
    path = Path(path)
    for reader in FORMATS.values():
        if reader.matches(path):
            samples = reader.read(path, split)
            if not samples:
                raise DataError(f'the split {split} of {path} has no frames')
            if orientations:
                check_orientations(path, samples)
            return samples
    found = 'does not exist' if not path.exists() else 'has none of their files'
    raise DataError(f'no reader ({", ".join(FORMATS)}) knows {path}: it {found}')
