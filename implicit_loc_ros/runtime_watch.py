"""Tells in the log what executes the network, and why nothing better does."""

from implicit_loc.localizer import Localizer
from implicit_loc.runtimes import RuntimeStatus
from implicit_loc_ros.throttled_log import ThrottledLog


class RuntimeWatch:
    """Each change of a localizer's runtime is told once; the executor's thread calls.

    Args:
        log: of the node.
    """

    def __init__(self, log: ThrottledLog) -> None:
        self._log = log
        self._localizer: Localizer | None = None
        self._told = RuntimeStatus('')

    def begin(self, localizer: Localizer) -> None:
        """A map was configured, and its runtime's name was told: why not a better one."""
        self._localizer, self._told = localizer, RuntimeStatus(localizer.runtime.name)
        self.review(localizer)

    def review(self, localizer: Localizer) -> None:
        """Tell what has changed; call it now and then.

        Args:
            localizer: in use; that of another map may have another runtime.
        """
        status = localizer.runtime
        if localizer is not self._localizer:
            # The next map's reason is told even where it is the last one's.
            self._told = RuntimeStatus(self._told.name)
        if status != self._told:
            text = f'the network runs on {status.name}'
            if status.note:
                told = self._log.warning('runtime', f'{text}: {status.note}')
            else:
                told = self._log.info('runtime', text)
            # What the log has swallowed is told by the next review.
            if not told:
                return
        self._localizer, self._told = localizer, status
