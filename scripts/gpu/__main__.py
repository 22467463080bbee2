"""Entry point of `python -m gpu`."""

from collections.abc import Callable

from replay.entry import run


def _load() -> Callable[[], int]:
    from gpu.command import main

    return main


run('measure_gpu', _load)
