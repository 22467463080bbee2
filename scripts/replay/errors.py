"""The one kind of error that the demo reports in a single line."""

from implicit_loc_trainer.child_processes import ProcessError as ReplayError

__all__ = ['ReplayError']
