"""Moving the stamps inside serialized messages to another time."""

import struct
from collections.abc import Callable
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from rclpy.time import Time

# CDR: four bytes that tell the encoding, then the message; a header begins with its stamp.
ENCAPSULATION_BYTES = 4

Shift = Callable[[int], int]


def shifted(data: bytes, message_type: Any, shift: Shift) -> bytes:
    """Return a message with its own stamps moved.

    Args:
        data: CDR bytes.
        message_type: the rclpy class; its header, or those of its transforms, are moved.
        shift: nanoseconds to nanoseconds. Zero, which means no stamp, stays zero.
    """
    fields = message_type.get_fields_and_field_types()
    if next(iter(fields.items()), None) == ('header', 'std_msgs/Header'):
        order = '<' if data[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, ENCAPSULATION_BYTES)
        stamp = seconds * 10**9 + nanoseconds
        if stamp == 0:
            return data
        moved = bytearray(data)
        struct.pack_into(f'{order}iI', moved, ENCAPSULATION_BYTES, *divmod(shift(stamp), 10**9))
        return bytes(moved)
    if fields.get('transforms') == 'sequence<geometry_msgs/TransformStamped>':
        message = deserialize_message(data, message_type)
        for transform in message.transforms:
            stamp = Time.from_msg(transform.header.stamp).nanoseconds
            if stamp:
                transform.header.stamp = Time(nanoseconds=shift(stamp)).to_msg()
        return bytes(serialize_message(message))
    return data
