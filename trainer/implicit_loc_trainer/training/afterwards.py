"""What follows a training: nothing that goes wrong then takes the training back."""

from collections.abc import Callable

from rich.console import Console


def attempt(work: Callable[[], str], failure: str, again: str, console: Console) -> None:
    """Does something with the checkpoint of a training that has just ended, or says why not.

    Args:
        work: returns what is said when it is done.
        failure: what is missing otherwise.
        again: the command that repeats it.
        console: takes what is said.
    """
    try:
        text = work()
    except Exception as error:  # noqa: BLE001 - hours of training must not end in a traceback
        reason = f'{type(error).__name__}: {error}'
        text = f'warning: {failure} ({reason}); the checkpoint is whole. Try again: {again}'
    console.print(text, markup=False, highlight=False, soft_wrap=True)
