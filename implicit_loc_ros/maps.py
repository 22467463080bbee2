"""The map in use, and the next one, which is loaded beside it."""

import threading
import traceback
from dataclasses import dataclass

from implicit_loc.checkpoint import read_description
from implicit_loc.errors import CheckpointError, ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.worker import NewestItemWorker


@dataclass(frozen=True)
class MapChoice:
    """A checkpoint, and where its world lies in the map.

    Attributes:
        checkpoint: path as the user wrote it.
        world_alignment: x y z qx qy qz qw of map_from_world.
    """

    checkpoint: str
    world_alignment: tuple[float, ...]


@dataclass(frozen=True)
class Loading:
    """What became of a map that somebody wants.

    Attributes:
        choice: that was asked for.
        localizer: ready to run; None if it cannot be loaded.
        error: why not.
    """

    choice: MapChoice
    localizer: Localizer | None
    error: str = ''


def choice_of(parameters: Parameters) -> MapChoice:
    """The map that the parameters ask for."""
    return MapChoice(parameters.checkpoint, tuple(parameters.world_alignment))


def load_localizer(parameters: Parameters) -> Localizer:
    """Read the checkpoint that the parameters name.

    Raises:
        ImplicitLocError: the checkpoint, the device or the solver cannot be used.
    """
    return Localizer.load(
        parameters.checkpoint,
        parameters.device,
        parameters.solver,
        parameters.runtime,
        parameters.threads or None,
    )


class MapLoader:
    """Loads maps and runs them warm in a thread of its own; only the newest wish counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wish: MapChoice | None = None
        # The same file may be wished for again: it may have changed.
        self._wishes = 0
        self._done: Loading | None = None
        self._worker = NewestItemWorker(self._load, 'map loader')

    @property
    def wish(self) -> MapChoice | None:
        """The map that is being loaded."""
        return self._wish

    def begin(self, parameters: Parameters) -> None:
        """Load the map that the parameters ask for, instead of any other."""
        with self._lock:
            self._wish, self._done = choice_of(parameters), None
            self._wishes += 1
            self._worker.submit((self._wishes, parameters))

    def cancel(self) -> None:
        """Nobody wants what is being loaded."""
        with self._lock:
            self._wish = self._done = None
            self._wishes += 1

    def take(self) -> Loading | None:
        """What became of the wish, once; None while nothing has."""
        with self._lock:
            done, self._done = self._done, None
            if done is not None:
                self._wish = None
            return done

    def stop(self) -> None:
        """Load nothing more; what is being loaded is dropped."""
        self.cancel()
        self._worker.stop(timeout_s=0.0)

    def _load(self, numbered: tuple[int, Parameters]) -> None:
        number, parameters = numbered
        choice = choice_of(parameters)
        try:
            localizer = load_localizer(parameters)
            localizer.warm_up(export=False)
            loading = Loading(choice, localizer)
        except ImplicitLocError as error:
            loading = Loading(choice, None, str(error))
        except Exception as error:  # noqa: BLE001  the robot keeps the map that it has
            details = traceback.format_exc()
            loading = Loading(choice, None, f'{type(error).__name__}: {error}\n{details}')
        with self._lock:
            if number == self._wishes:
                self._done = loading


def refusal(choice: MapChoice) -> str:
    """Why a map cannot even be tried; empty if it can. Looks at the file's header only."""
    if not choice.checkpoint:
        return "'checkpoint' is empty: set it to a trained .safetensors file"
    try:
        read_description(choice.checkpoint)
    except CheckpointError as error:
        return str(error)
    return ''
