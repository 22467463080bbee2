"""Which scenes are trained, and what became of each."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.recipes.sections import ConfigError

FINISHED, EARLIER, FAILED, INTERRUPTED = 'finished', 'finished earlier', 'failed', 'interrupted'


@dataclass(frozen=True)
class Scene:
    """A recording to train on.

    Attributes:
        name: of its folder in the output, and of its row in the table.
        data: path of the recording, or 'demo-room'.
        folder: of its run.
    """

    name: str
    data: str
    folder: Path

    def recipe(self, common: Recipe) -> Recipe:
        """The recipe of all, for this scene."""
        return replace(
            common,
            data=replace(common.data, path=self.data),
            run=replace(common.run, output=str(self.folder)),
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    Attributes:
        name: of the scene.
        data: path of the recording.
        state: FINISHED, EARLIER, FAILED or INTERRUPTED.
        median_translation_m: of the last validation, metres; None = there was none.
        median_rotation_deg: likewise, degrees.
        minutes: of training, those before an interruption included.
        message: why it failed.
        log: what the training printed.
        checkpoint: for the robot; empty where there is none.
    """

    name: str
    data: str
    state: str
    median_translation_m: float | None = None
    median_rotation_deg: float | None = None
    minutes: float = 0.0
    message: str = ''
    log: str = ''
    checkpoint: str = ''


def name_scenes(recordings: Sequence[str], output: Path) -> list[Scene]:
    """The scenes of `PATH` or `NAME=PATH`; without a name, that of the file or folder.

    Raises:
        ConfigError: two scenes have the same name, one cannot be that of a folder, or a pattern
            matches nothing.
    """
    scenes = []
    for recording in recordings:
        name, equals, path = recording.partition('=')
        if not equals or Path(recording).exists():
            path = recording
            name = Path(recording).resolve().stem if Path(path).is_file() else Path(path).name
        if not name or not path or name.startswith('.') or '/' in name:
            raise ConfigError(f'--data {recording}: give it a name for its folder, as NAME={path}')
        here = Path(path)
        # A shell hands on a pattern that matches nothing as it is.
        if not here.exists() and any(sign in path for sign in '*?['):
            raise ConfigError(f'--data {recording}: no recording matches this pattern')
        data = str(here.resolve()) if here.exists() else path
        scenes.append(Scene(name, data, output.resolve() / name))
    twice = [name for name, count in Counter(scene.name for scene in scenes).items() if count > 1]
    if twice:
        raise ConfigError(
            f'--data has two recordings of the name {twice[0]}: tell them apart, as NAME=PATH'
        )
    return scenes


def write_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write the JSON file of a whole call."""
    rows = [
        {name: _finite(value) for name, value in asdict(outcome).items()} for outcome in outcomes
    ]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({'scenes': rows}, indent=2) + '\n', encoding='utf-8')


def minutes_before(path: Path) -> Mapping[str, float]:
    """How long each scene was trained in earlier calls, by its name."""
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))['scenes']
        return {row['name']: float(row['minutes']) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f'{path} is not what train-many wrote: delete it') from error


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
