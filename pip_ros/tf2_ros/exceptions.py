"""The exceptions of tf2, with the names that tf2 gave them."""
# ruff: noqa: N818


class TransformException(Exception):
    """Any failure to transform."""


class ConnectivityException(TransformException):
    """The two frames are not in one tree."""


class LookupException(TransformException):
    """A frame has never been heard of."""


class ExtrapolationException(TransformException):
    """The time lies outside what the buffer holds."""


class InvalidArgumentException(TransformException):
    """A frame name is empty or starts with a slash."""


class TimeoutException(TransformException):
    """The transform did not arrive in time."""
