"""The lifecycle of a node: transitions that say why they failed."""

import traceback
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from implicit_loc.errors import ImplicitLocError


class ManagedNode(LifecycleNode):
    """A lifecycle node whose transitions are plain methods that raise.

    Args:
        name: of the node.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.logger = self.get_logger()  # type: ignore[no-untyped-call]

    def configure(self) -> None:
        """Get everything ready; a known error is logged in one line."""
        raise NotImplementedError

    def activate(self) -> None:
        """Begin the work."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """End the work; harmless when nothing runs."""
        raise NotImplementedError

    def close(self) -> None:
        """End the work and free what configure got; harmless when nothing runs."""
        raise NotImplementedError

    def start(self) -> bool:
        """Configure and activate; whether both worked."""
        success = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != success:  # type: ignore[no-untyped-call]
            return False
        return bool(self.trigger_activate() == success)  # type: ignore[no-untyped-call]

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unconfigured -> inactive."""
        return self._attempt('configure', self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive -> active."""
        return self._attempt('activate', self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Active -> inactive."""
        return self._attempt('deactivate', self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Inactive -> unconfigured."""
        return self._attempt('clean up', self.close)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Any state -> finalized."""
        return self._attempt('shut down', self.close)

    def _attempt(self, name: str, work: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy swallows whatever a transition raises, so the reason is logged here.
        try:
            work()
        except ImplicitLocError as error:
            self.logger.error(f'cannot {name}: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception:  # noqa: BLE001  a defect: its traceback is logged
            if self.context.ok():
                self.logger.error(f'cannot {name}: {traceback.format_exc()}')
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS
