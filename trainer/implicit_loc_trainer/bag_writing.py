"""Bags of ROS 2 as outputs: written whole or not at all, without ROS."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from implicit_loc_trainer.output_files import OutputError
from implicit_loc_trainer.ros_messages import TYPES


@contextmanager
def new_bag(
    path: Path,
    types: Mapping[str, str],
    notes: Mapping[str, str] | None = None,
    compressed: bool = False,
) -> Iterator[tuple[Writer, dict[str, Connection]]]:
    """Gives the writer of an mcap bag and its topics; the bag takes its place when it is whole.

    Args:
        path: folder of the bag; a bag there is replaced.
        types: message type by topic.
        notes: text files to put beside the messages, by name.
        compressed: with zstd, inside the mcap file: every reader of mcap knows it.

    Raises:
        OutputError: something else is at the path.
        OSError: the disk is full, or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f'.{path.name}.', dir=path.parent, ignore_cleanup_errors=True
    ) as scratch:
        # The name of the bag is also that of the file inside.
        unfinished = Path(scratch) / path.name
        writer = Writer(unfinished, version=9, storage_plugin=StoragePlugin.MCAP)
        if compressed:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            yield (
                writer,
                {
                    topic: writer.add_connection(topic, kind, typestore=TYPES)
                    for topic, kind in types.items()
                },
            )
        for name, text in (notes or {}).items():
            (unfinished / name).write_text(text, encoding='utf-8')
        remove_bag(path)
        unfinished.rename(path)


def check_replaceable(path: Path) -> None:
    """Finds out early whether a bag can be written there, or takes the place of another.

    Raises:
        OutputError: something else is at the path.
    """
    if path.is_symlink() or path.is_file() or (path.is_dir() and not is_bag(path)):
        raise OutputError(f'{path} is in the way: it is no bag, remove or rename it')


def remove_bag(path: Path) -> None:
    """Removes a bag, if there is one.

    Raises:
        OutputError: something else is at the path.
        OSError: it cannot be removed.
    """
    check_replaceable(path)
    if path.exists():
        shutil.rmtree(path)


def is_bag(path: Path) -> bool:
    """Whether a folder holds a rosbag2 recording, or nothing."""
    return (path / 'metadata.yaml').is_file() or not any(path.iterdir())
