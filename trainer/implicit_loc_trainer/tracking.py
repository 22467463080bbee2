"""How far the work has come, for the person who waits for it."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar('Item')


def tracked(items: Sequence[Item], what: str) -> Iterable[Item]:
    """The items, with a bar in a terminal that vanishes at the end; nothing elsewhere."""
    return counted(items, what, len(items))


def counted(items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
    """As `tracked`, of items that do not know how many they are."""
    return track(
        items,
        description=what,
        total=total,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
