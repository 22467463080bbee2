"""Access to the messages of a ROS 2 bag, mcap or sqlite3, without ROS."""

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from rosbags.typesys.store import Typestore

from implicit_loc_trainer.datasets.bag_storage import open_storage
from implicit_loc_trainer.datasets.bag_types import typestore_of
from implicit_loc_trainer.datasets.sample import DataError

# What rosbags raises for a bag that is damaged, or of a kind that it does not read.
_BAG_ERRORS = (
    ReaderError,
    SerdeError,
    TypesysError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)

_local = threading.local()


class MessageKey(NamedTuple):
    """Where a message is found again.

    Attributes:
        bag: folder or file.
        topic: of the message.
        received_ns: the time under which the bag keeps it.
        ordinal: among those of its topic with this time.
    """

    bag: Path
    topic: str
    received_ns: int
    ordinal: int


class StampedKey(NamedTuple):
    """A message's place, and what its header says.

    Attributes:
        key: its place.
        stamp_ns: of the header.
        frame_id: of the header.
    """

    key: MessageKey
    stamp_ns: int
    frame_id: str


class Bag:
    """An open bag.

    Args:
        path: folder, or .mcap or .db3 file.

    Raises:
        DataError: the bag cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(path):
            self._reader = open_storage(path)
        self._connections = {
            connection.topic: connection for connection in self._reader.connections
        }
        self.types = {topic: item.msgtype for topic, item in self._connections.items()}
        self._typestores: dict[str, Typestore] = {}

    def close(self) -> None:
        """Closes the bag's files."""
        self._reader.close()

    def topics(self, types: tuple[str, ...]) -> list[str]:
        """The topics of these types, sorted."""
        return sorted(topic for topic, name in self.types.items() if name in types)

    def contents(self) -> str:
        """All topics with their types, for messages to people."""
        topics = (f'{topic} ({self.types[topic]})' for topic in sorted(self.types))
        return f'the bag has {", ".join(topics) or "nothing"}'

    def check_topic(self, topic: str, types: tuple[str, ...]) -> None:
        """Refuses a topic that is not there or of none of these types.

        Raises:
            DataError: it is so; lists what the bag has.
        """
        if topic not in self.types:
            raise DataError(f'{self.path} has no topic {topic}: {self.contents()}')
        if self.types[topic] not in types:
            raise DataError(
                f'{self.path}: the topic {topic} is of the type {self.types[topic]}, '
                f'which is none of {", ".join(types)}'
            )

    def messages(self, topic: str) -> Iterator[Any]:
        """The messages of a topic, in the order in which they were received."""
        for _, raw in self.raw_messages(topic):
            yield self._deserialize(topic, raw)

    def headers(self, topic: str) -> Iterator[StampedKey]:
        """Place, stamp and frame of each message of a topic whose type begins with a header.

        Only the header is decoded: images are large.
        """
        previous, ordinal = -1, 0
        for received_ns, raw in self.raw_messages(topic):
            ordinal = ordinal + 1 if received_ns == previous else 0
            previous = received_ns
            with _readable(self.path):
                # CDR: four bytes that say the byte order, then the header's fields.
                order = '<' if raw[1] & 1 else '>'
                seconds, nanoseconds, length = struct.unpack_from(f'{order}iII', raw, 4)
                frame_id = bytes(raw[16 : 16 + length]).rstrip(b'\0').decode()
            key = MessageKey(self.path, topic, received_ns, ordinal)
            yield StampedKey(key, seconds * 10**9 + nanoseconds, frame_id.lstrip('/'))

    def message(self, key: MessageKey) -> Any:
        """One message.

        Raises:
            DataError: it is no longer there, or damaged.
        """
        return self._deserialize(key.topic, self.raw_message(key))

    def raw_message(self, key: MessageKey) -> bytes:
        """CDR bytes of one message.

        Raises:
            DataError: it is no longer there.
        """
        found = self.raw_messages(key.topic, key.received_ns, key.received_ns + 1)
        for ordinal, (_, raw) in enumerate(found):
            if ordinal == key.ordinal:
                return raw
        raise DataError(
            f'{key.bag} no longer has the message of {key.topic} at {key.received_ns} ns'
        )

    def raw_messages(
        self, topic: str, start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Time of receipt (nanoseconds) and CDR bytes of the messages of a topic.

        Args:
            topic: of the bag.
            start: of the earliest time; None = from the beginning.
            stop: before this time; None = to the end.

        Raises:
            DataError: the bag is damaged.
        """
        connections = [item for item in self._reader.connections if item.topic == topic]
        with _readable(self.path):
            for _, received_ns, raw in self._reader.messages(connections, start, stop):
                yield received_ns, raw

    def _deserialize(self, topic: str, raw: bytes) -> Any:
        with _readable(self.path):
            # Of the topics that are read alone: what nobody asks for may be as it likes.
            if topic not in self._typestores:
                self._typestores[topic] = typestore_of(self._connections[topic])
            return self._typestores[topic].deserialize_cdr(raw, self.types[topic])


def read_message(key: MessageKey) -> Any:
    """One message of a bag that needs not be open: what images are loaded with.

    The bag stays open for the next call, once per thread and process: an open file that a
    forked worker inherits would share its position with the parent.

    Raises:
        DataError: the bag or the message is no longer there, or damaged.
    """
    owner = (os.getpid(), key.bag)
    if getattr(_local, 'owner', None) != owner:
        _local.bag = Bag(key.bag)
        _local.owner = owner
    return _local.bag.message(key)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except _BAG_ERRORS as error:
        raise DataError(f'cannot read the bag {path}: {type(error).__name__}: {error}') from error
