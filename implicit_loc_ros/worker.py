"""One thread that always takes the newest item: nothing queues, the caller never waits."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar('Item')


class NewestItemWorker(Generic[Item]):
    """Calls a function with the newest submitted item, in a thread of its own.

    Args:
        handle: gets one item at a time; must not raise.
        name: of the thread.
        prepare: the thread's first job, items wait and overtake meanwhile; must not raise.
    """

    def __init__(
        self,
        handle: Callable[[Item], None],
        name: str = 'worker',
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._handle = handle
        self._prepare = prepare
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._stopping = False
        self._prepared = threading.Event()
        # A daemon: a driver call that hangs must not keep a stopped process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_prepared(self) -> bool:
        """Whether the first job is done."""
        return self._prepared.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs; one that was stopped may still finish something."""
        return self._thread.is_alive()

    def submit(self, item: Item) -> bool:
        """Hand over an item.

        Returns:
            Whether it overtook one that nobody had taken yet.
        """
        with self._condition:
            overtook = self._item is not None
            self._item = item
            self._condition.notify()
        return overtook

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Drop what waits, finish what runs.

        Returns:
            Whether the thread ended within the timeout.
        """
        with self._condition:
            self._stopping = True
            self._item = None
            self._condition.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._prepare is not None:
            self._prepare()
        self._prepared.set()
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._item is not None)
                if self._stopping:
                    return
                item, self._item = self._item, None
            assert item is not None
            self._handle(item)
