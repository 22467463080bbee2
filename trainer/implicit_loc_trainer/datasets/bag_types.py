"""Message types of a bag, from the definitions that it holds."""

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

_IDL_SEPARATOR = '=' * 80 + '\n'


def typestore_of(connection: Connection) -> Typestore:
    """The types of one topic: as the bag defines them, else as Jazzy does.

    Raises:
        TypesysError: the definition cannot be parsed; names the topic.
    """
    # Bags of older distributions hold no definitions.
    if connection.msgdef.format is MessageDefinitionFormat.NONE:
        return get_typestore(Stores.ROS2_JAZZY)
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(_parsed(connection))
    except TypesysError as error:
        raise TypesysError(
            f'the definition of {connection.topic} ({connection.msgtype}) is damaged: {error}'
        ) from error
    return store


def _parsed(connection: Connection) -> Typesdict:
    text = connection.msgdef.data
    if connection.msgdef.format is MessageDefinitionFormat.MSG:
        return get_types_from_msg(text, connection.msgtype)
    types: Typesdict = {}
    # The type and those that it is made of, each after a line "IDL: name".
    if text.startswith(f'{_IDL_SEPARATOR}IDL: '):
        for section in text.split(_IDL_SEPARATOR)[1:]:
            types.update(get_types_from_idl(section.split('\n', 1)[1]))
        return types
    return get_types_from_idl(text)
