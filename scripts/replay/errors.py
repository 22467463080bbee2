"""The one kind of error that the demo reports in a single line."""

from implicit_loc.errors import ImplicitLocError


class ReplayError(ImplicitLocError):
    """A process ended, or nothing came back; the message says what helps."""
