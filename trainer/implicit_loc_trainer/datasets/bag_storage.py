"""Opening the files of a ROS 2 bag, also where one topic or the recorder left them incomplete."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader, Schema
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from implicit_loc_trainer.datasets.bag_options import METADATA_FILE, STORAGE_SUFFIXES
from implicit_loc_trainer.datasets.sample import DataError

# What rosbags knows; for one other it refuses the whole bag, whichever topics are wanted. The
# recorder writes 'unknown' where it finds no package, Foxglove's writers 'protobuf' or 'json'.
_ENCODINGS = ('ros2msg', 'ros2idl')
_MCAP_ENCODINGS = (*_ENCODINGS, 'omgidl', '')

# Hides the rows of other encodings from whoever asks this connection; the file stays as it is.
_KNOWN_ROWS = (
    'CREATE TEMP VIEW message_definitions AS SELECT * FROM main.message_definitions '
    f'WHERE encoding IN {_ENCODINGS}'
)

_hooks = threading.Lock()


class _Schemas(dict[int, Schema]):
    """Schemas, those of encodings that rosbags does not know without their definition."""

    def __setitem__(self, number: int, schema: Schema) -> None:
        if schema.encoding not in _MCAP_ENCODINGS:
            schema = schema._replace(encoding='', data='')
        super().__setitem__(number, schema)


class _Mcap(McapReader):
    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.schemas = _Schemas()


class _Sqlite3(Sqlite3Reader):
    def open(self) -> None:
        with _each_connection(_hide_unknown_definitions):
            super().open()


class _Folder(DirectoryReader):
    STORAGE_PLUGINS: Mapping[str, Any] = {'mcap': _Mcap, 'sqlite3': _Sqlite3}


class _Reader(Reader):
    STORAGE_PLUGINS: Mapping[str, Any] = {
        'dir': _Folder,
        '.mcap': _Mcap,
        '.db3': _Sqlite3,
    }


def open_storage(path: Path) -> Reader:
    """An open reader of a bag.

    Topics whose message definition has an unknown encoding come without one.

    Args:
        path: folder, or .mcap or .db3 file. A folder without metadata.yaml is that of a recorder
            that was killed: its storage file is read, if there is one alone.

    Raises:
        DataError: a folder without metadata.yaml that holds several files, or a damaged one.
        Exception: what rosbags raises for other damaged bags.
    """
    if not path.is_dir() or (path / METADATA_FILE).is_file():
        return _opened(path)
    files = storage_files(path)
    if len(files) != 1:
        advice = f'their order is not known: ros2 bag reindex {path}' if files else 'it is no bag'
        raise DataError(
            f'cannot read the bag {path}: it has no {METADATA_FILE} and {len(files)} files '
            f'{" or ".join(STORAGE_SUFFIXES)}: {advice}'
        )
    try:
        return _opened(files[0])
    except ReaderError as error:
        raise DataError(
            f'cannot read the bag {path}: it has no {METADATA_FILE}, as after a recorder that was '
            f'killed, and {files[0].name} is incomplete ({error}): repair it with ros2 bag '
            f'reindex {path} or, if that fails, mcap recover'
        ) from error


def _opened(path: Path) -> Reader:
    reader = _Reader(path)
    reader.open()
    return reader


def storage_files(folder: Path) -> list[Path]:
    """The .mcap and .db3 files of a folder, sorted."""
    return sorted(file for file in folder.glob('*') if file.suffix in STORAGE_SUFFIXES)


def _hide_unknown_definitions(connection: apsw.Connection) -> None:
    connection.execute(_KNOWN_ROWS)


@contextmanager
def _each_connection(prepare: Callable[[apsw.Connection], None]) -> Iterator[None]:
    with _hooks:
        apsw.connection_hooks.append(prepare)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(prepare)
