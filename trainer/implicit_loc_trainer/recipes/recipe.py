"""The recipe of a training, read from YAML and overridden on the command line."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from implicit_loc_trainer.recipes.sections import (
    AugmentationConfig,
    ConfigError,
    DataConfig,
    LossConfig,
    NetworkSection,
    OptimizerConfig,
    RunConfig,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkSection = field(default_factory=NetworkSection)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a YAML recipe and apply `--section.key value` overrides.

    Raises:
        ConfigError: the file cannot be read, or an entry is unknown or of a wrong type.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    if not Path(path).is_file():
        raise ConfigError(f'the recipe {path} does not exist')
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument('--config', action='config')
    parser.add_class_arguments(Recipe, as_group=False)
    try:
        parsed = parser.parse_args([f'--config={path}', *(overrides or [])])
        sections = parser.instantiate(parsed)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(f'the recipe {path}: {error}') from error
    return Recipe(**{item.name: sections[item.name] for item in fields(Recipe)})
