"""Work that OpenCV or a disk does, by several threads at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


def cores() -> int:
    """How many of the machine's cores this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Results in the order of the items, by as many threads as there are cores."""
    executor = ThreadPoolExecutor(max_workers=min(8, cores()))
    try:
        yield from executor.map(work, items)
    finally:
        # After an interruption nobody waits for what has not begun.
        executor.shutdown(cancel_futures=True)
