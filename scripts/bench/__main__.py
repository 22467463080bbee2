"""Entry point of `python -m bench`."""

from collections.abc import Callable

from replay.entry import run


def _load() -> Callable[[], int]:
    from bench.command import main

    return main


run('bench_node', _load)
