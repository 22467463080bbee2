"""Reading rosbag2 recordings, with errors that fit one line."""

import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos, QosDurability, QosReliability
from rosbags.rosbag2 import Reader, ReaderError


class BagError(Exception):
    """The recording, or what was asked of it, makes no sense; the message says what."""


@dataclass(frozen=True)
class Topic:
    """A recorded topic.

    Attributes:
        name: as recorded.
        type_name: such as 'sensor_msgs/msg/Image'.
        is_reliable: False if all its publishers were best effort.
        is_latched: True if all its publishers were transient local.
    """

    name: str
    type_name: str
    is_reliable: bool
    is_latched: bool


@dataclass(frozen=True)
class Message:
    """A recorded message: stamp is when it was recorded, nanoseconds; data is CDR."""

    topic: str
    stamp: int
    data: bytes


class Recording:
    """An open recording; use it in a with statement.

    Args:
        path: folder of a bag, or one .mcap or .db3 file. A folder without metadata.yaml is that of
            a recorder that was killed: its storage file is read, if there is one alone.

    Raises:
        BagError: there is no bag at the path, it is empty, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._reader = Reader(_storage_of(path))
            self._reader.open()
        except FileNotFoundError as error:
            raise BagError(f'{path} is no rosbag2 recording: {error}') from error
        except KeyError as error:
            # Of a table of encodings.
            raise BagError(
                f'{path} cannot be read: it uses {error}, which rosbags does not know'
            ) from error
        except _READ_ERRORS as error:
            raise BagError(
                f'{path} cannot be read: {_in_one_line(error)}. If its recorder was killed or the '
                f'copy cut off: ros2 bag reindex {path} or, if that fails, mcap recover'
            ) from error
        if not self._reader.message_count:
            raise BagError(f'{path} holds no message')

    def __enter__(self) -> 'Recording':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    @property
    def start(self) -> int:
        """Stamp of the first message, nanoseconds."""
        return int(self._reader.start_time)

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return max(0.0, (self._reader.end_time - self._reader.start_time) / 1e9)

    def topics(self) -> list[Topic]:
        """Return the recorded topics in the order of their names."""
        by_name: dict[str, list[Connection]] = {}
        for connection in self._reader.connections:
            by_name.setdefault(connection.topic, []).append(connection)
        return [_topic(name, by_name[name]) for name in sorted(by_name)]

    def messages(self, topics: set[str], start: int = 0) -> Iterator[Message]:
        """Yield the messages of some topics in the order of their stamps.

        Raises:
            BagError: the recording is damaged.
        """
        wanted = [one for one in self._reader.connections if one.topic in topics]
        if not wanted:
            return
        try:
            for connection, stamp, data in self._reader.messages(wanted, start=start or None):
                yield Message(connection.topic, stamp, bytes(data))
        except _READ_ERRORS as error:
            raise BagError(f'{self.path} is damaged: {_in_one_line(error)}') from error


_READ_ERRORS = (
    ReaderError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AssertionError,
    EOFError,
    struct.error,
    sqlite3.Error,
)


def _storage_of(path: Path) -> Path:
    """What to read: the path, or the file of a folder that a recorder left without metadata."""
    if not path.is_dir() or (path / 'metadata.yaml').is_file():
        return path
    files = sorted(file for file in path.iterdir() if file.suffix in ('.mcap', '.db3'))
    if not files:
        raise BagError(f'{path} is no rosbag2 recording: it has no metadata.yaml, .mcap or .db3')
    if len(files) > 1:
        raise BagError(
            f'{path} has no metadata.yaml, which tells the order of its {len(files)} files: '
            f'ros2 bag reindex {path}'
        )
    return files[0]


def _in_one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.')


def _topic(name: str, connections: list[Connection]) -> Topic:
    profiles: list[Qos] = []
    for connection in connections:
        if isinstance(connection.ext, ConnectionExtRosbag2):
            profiles += connection.ext.offered_qos_profiles
    best_effort = [profile.reliability is QosReliability.BEST_EFFORT for profile in profiles]
    latched = [profile.durability is QosDurability.TRANSIENT_LOCAL for profile in profiles]
    return Topic(
        name,
        connections[0].msgtype,
        is_reliable=not (best_effort and all(best_effort)),
        is_latched=all(latched) if latched else name == '/tf_static',
    )
