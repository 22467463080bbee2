"""The scenes of an ablation and the frames that a run is given."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.sections import ConfigError


@dataclass(frozen=True)
class Scene:
    """One recording.

    Attributes:
        group: of scenes that are averaged, for instance 7Scenes; may be empty.
        name: of the scene, for instance Chess.
        path: the recording.
    """

    group: str
    name: str
    path: str


def parse_scenes(words: Sequence[str]) -> list[Scene]:
    """Scenes of `[GROUP/][NAME=]PATH` words; without a name, it is the recording's folder.

    Raises:
        ConfigError: two scenes have one name.
    """
    scenes = []
    for word in words:
        label, sign, path = word.partition('=')
        group, _, name = label.rpartition('/') if sign else ('', '', '')
        path = path if sign else word
        scenes.append(Scene(group, name or Path(path).name, path))
    names = [(scene.group, scene.name) for scene in scenes]
    for group, name in names:
        if names.count((group, name)) > 1:
            raise ConfigError(
                f'two scenes are called {name!r}: name them, as in --data one=PATH two=PATH'
            )
    return scenes


@dataclass(frozen=True)
class FrameChoice:
    """Names of the frames of one run.

    Attributes:
        train: to learn from.
        test: to measure on.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]


def choose_frames(
    scene: Scene, frames: int, test_frames: int, every: int, others: bool
) -> FrameChoice:
    """At most so many frames, evenly spaced, and of the training's every n-th.

    Args:
        scene: to choose from.
        frames: most training frames, 0 = all.
        test_frames: most test frames, 0 = all.
        every: n.
        others: take those that are not every n-th instead.

    Raises:
        DataError: the recording is not usable.
    """
    train = _spaced(_names(scene.path, 'train'), frames)
    chosen = [name for index, name in enumerate(train) if (index % every == 0) != others]
    return FrameChoice(tuple(chosen), _spaced(_names(scene.path, 'test'), test_frames))


def write_list(folder: Path, names: Sequence[str]) -> Path:
    """A file of names, called after its content: a list that is there is not written again.

    Raises:
        OSError: it cannot be written.
    """
    text = ''.join(f'{name}\n' for name in names)
    path = folder / f'{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt'
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding='utf-8')
    return path


# Every variant asks for the frames of every scene, and a recording takes seconds to open.
@cache
def _names(path: str, split: str) -> tuple[str, ...]:
    return tuple(sample.name for sample in open_dataset(path, split))


def _spaced(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    if not most or len(names) <= most:
        return names
    return tuple(names[index * len(names) // most] for index in range(most))
