"""Entry point of `python -m replay`."""

from collections.abc import Callable

from replay.entry import run


def _load() -> Callable[[], int]:
    from replay.command import main

    return main


run('demo', _load)
