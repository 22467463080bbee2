"""Log lines at most once a second per cause."""

import threading
import time
from typing import Any

INTERVAL_S = 1.0


class ThrottledLog:
    """A logger for conditions that repeat with every image.

    rclpy's own throttle counts per line of code; here each cause counts for itself, in wall
    time: a paused simulation must not silence a warning.

    Args:
        logger: of the node.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def info(self, cause: str, text: str) -> bool:
        """Inform, unless the same cause was logged within the last second; whether it was."""
        if self._is_due(cause):
            self._logger.info(text)
            return True
        return False

    def warning(self, cause: str, text: str) -> bool:
        """Warn, unless the same cause was logged within the last second; whether it was."""
        if self._is_due(cause):
            self._logger.warning(text)
            return True
        return False

    def error(self, cause: str, text: str) -> bool:
        """Report an error, unless its cause was logged within the last second; whether it was."""
        if self._is_due(cause):
            self._logger.error(text)
            return True
        return False

    def _is_due(self, cause: str) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(cause, -INTERVAL_S) < INTERVAL_S:
                return False
            self._last[cause] = now
        return True
