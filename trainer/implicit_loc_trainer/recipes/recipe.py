"""The recipe of a training, read from YAML and overridden on the command line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from implicit_loc_trainer.recipes.sections import (
    AugmentationConfig,
    ConfigError,
    DataConfig,
    LossConfig,
    MapConfig,
    NetworkSection,
    OptimizerConfig,
    RunConfig,
)

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkSection = field(default_factory=NetworkSection)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    map: MapConfig = field(default_factory=MapConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.optimizer.geometry_share and not (self.loss.consistency or self.loss.reprojection):
            raise ConfigError(
                f'optimizer.geometry_share is {self.optimizer.geometry_share}: that phase needs '
                'loss.consistency or loss.reprojection'
            )
        if self.data.positions_only and not (self.loss.pose and self.run.start_from):
            raise ConfigError(
                'data.positions_only teaches through loss.pose alone, and refines what a '
                'checkpoint knows: it needs loss.pose above 0 and run.start_from'
            )


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a YAML recipe and apply `--section.key value` overrides.

    Raises:
        ConfigError: the file cannot be read, or an entry is unknown or of a wrong type.
    """
    if not Path(path).is_file():
        raise ConfigError(f'the recipe {path} does not exist')
    parser = _parser()
    parser.add_argument('--config', action='config')
    return _parsed(
        parser,
        f'the recipe {path}',
        lambda: parser.parse_args([f'--config={path}', *(overrides or [])]),
    )


def changed_recipe(recipe: Recipe, changes: Mapping[str, object], name: str = '') -> Recipe:
    """A recipe with other entries.

    Args:
        recipe: to begin with; stays as it is.
        changes: values by 'section.key'.
        name: of the new one, for errors.

    Raises:
        ConfigError: an entry is unknown or of a wrong type.
    """
    values = asdict(recipe)
    for entry, value in changes.items():
        section, _, key = entry.partition('.')
        if not key or section not in values:
            raise ConfigError(
                f'the recipe {name}: {entry!r} is no entry; entries are {_example(values)}'
            )
        values[section][key] = value
    parser = _parser()
    return _parsed(parser, f'the recipe {name}', lambda: parser.parse_object(values))


def entries(assignments: Sequence[str]) -> dict[str, object]:
    """Values by 'section.key' of 'section.key=value' words, each value read as YAML.

    Raises:
        ConfigError: a word is none.
    """
    import yaml

    values: dict[str, object] = {}
    for word in assignments:
        entry, sign, value = word.partition('=')
        try:
            values[entry] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f'{word!r} is not YAML after the "=": {error}') from error
        if not sign:
            raise ConfigError(f'{word!r} is not of the form section.key=value')
    return values


def _example(values: Mapping[str, Mapping[str, object]]) -> str:
    return ', '.join(f'{section}.{next(iter(keys))}' for section, keys in values.items())


def _parser() -> 'ArgumentParser':
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_class_arguments(Recipe, as_group=False)
    return parser


def _parsed(parser: 'ArgumentParser', name: str, parse: 'Callable[[], Namespace]') -> Recipe:
    from jsonargparse import ArgumentError

    try:
        sections = parser.instantiate(parse())
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(f'{name}: {error}') from error
    return Recipe(**{item.name: sections[item.name] for item in fields(Recipe)})
