"""How the commands end: known errors in one line, whatever else is a traceback."""

from collections.abc import Callable
from pathlib import Path

from bag_player.recording import BagError

from implicit_loc.errors import ImplicitLocError


def exit_status(work: Callable[[], None], output: Path, say: Callable[[str], None]) -> int:
    """Do a command's work.

    Args:
        work: may raise.
        output: what an error of the system is about that names no file.
        say: tells the person who called.

    Returns:
        0; 1 after a known error, 130 after Ctrl-C.
    """
    try:
        work()
    except (ImplicitLocError, BagError) as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f'{error.filename or output}: {error.strerror or error}')
        return 1
    except KeyboardInterrupt:
        say('interrupted')
        return 130
    return 0
