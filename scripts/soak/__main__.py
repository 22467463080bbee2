"""Entry point of `python -m soak`."""

from collections.abc import Callable

from replay.entry import run


def _load() -> Callable[[], int]:
    from soak.command import main

    return main


run('soak_node', _load)
