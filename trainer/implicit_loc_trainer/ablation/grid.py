"""The grid of an ablation: a base recipe, named variations of it, and the tables they fill."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from implicit_loc_trainer.recipes.recipe import Recipe, changed_recipe, load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError

LAYOUTS = ('scenes', 'averages', 'run time', 'ideas')


@dataclass(frozen=True)
class Variant:
    """One variation of the base recipe.

    Attributes:
        changes: values by 'section.key'.
        every: trains on every n-th frame.
        fine_tunes: variant whose checkpoint this one begins with; of the frames that it left
            out, this one learns the positions.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    every: int = 1
    fine_tunes: str = ''


@dataclass(frozen=True)
class Budget:
    """What every run may cost.

    Attributes:
        changes: values by 'section.key', on top of every variant's.
        frames: training frames of a scene, evenly spaced; 0 = all.
        test_frames: test frames of a scene, evenly spaced; 0 = all.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    frames: int = 0
    test_frames: int = 0


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        label: what stands in the columns before the figures.
        variant: whose figures they are; empty = published ones.
        published: cells by scene, or by group of scenes in a table of averages.
    """

    label: tuple[str, ...]
    variant: str = ''
    published: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TableLayout:
    """One table.

    Attributes:
        name: of its files.
        title: above it.
        layout: one of LAYOUTS.
        columns: heads of the columns before the figures.
        rows: in their order.
        average: whether a table of scenes has a column for the average of each group.
    """

    name: str
    title: str
    layout: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    average: bool = True


@dataclass(frozen=True)
class Grid:
    """What an ablation runs and shows."""

    base: Recipe
    variants: Mapping[str, Variant]
    budgets: Mapping[str, Budget]
    tables: tuple[TableLayout, ...]

    def budget(self, name: str) -> Budget:
        """A budget by its name; without a name, none is set.

        Raises:
            ConfigError: there is none of this name.
        """
        if not name:
            return Budget()
        if name not in self.budgets:
            raise ConfigError(
                f'the grid has no budget {name!r}; it has {", ".join(self.budgets) or "none"}'
            )
        return self.budgets[name]


def load_grid(path: Path) -> Grid:
    """Read a grid; its base is relative to its own folder.

    Raises:
        ConfigError: the file cannot be read, an entry is unknown, missing or of a wrong type, or
            a row or a fine-tuning names a variant that is not there.
    """
    values = _mapping(_read(path), str(path), ('base', 'variants', 'budgets', 'tables'))
    for entry in ('base', 'variants', 'tables'):
        if not values.get(entry):
            raise ConfigError(f'{path}: there is no {entry}')
    base = load_recipe(path.parent / str(values['base']))
    grid = Grid(
        base=base,
        variants={
            str(name): _variant(entry or {}, f'{path}: variant {name!r}')
            for name, entry in _mapping(values['variants'], f'{path}: variants').items()
        },
        budgets={
            str(name): _budget(entry or {}, f'{path}: budget {name!r}')
            for name, entry in _mapping(values.get('budgets') or {}, f'{path}: budgets').items()
        },
        tables=tuple(_table(entry, str(path)) for entry in _list(values['tables'], str(path))),
    )
    _check(grid, path)
    return grid


def recipe_of(grid: Grid, name: str, budget: Budget, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of a variant, before it is given its data.

    Changes of a fine-tuning come on top of those of the variant that it begins with; those of the
    budget win over both, and `changes` over everything.

    Raises:
        ConfigError: an entry is unknown, of a wrong type or out of range.
    """
    variant = grid.variants[name]
    earlier = grid.variants[variant.fine_tunes].changes if variant.fine_tunes else {}
    # A short training and a short fine-tuning differ in what the budget gives for each.
    together = {**earlier, **variant.changes, **budget.changes, **changes}
    return changed_recipe(grid.base, together, f'of the variant {name!r}')


def _check(grid: Grid, path: Path) -> None:
    for name, variant in grid.variants.items():
        source = variant.fine_tunes
        found = grid.variants.get(source)
        if source and (found is None or found.every < 2 or found.fine_tunes):
            raise ConfigError(
                f'{path}: variant {name!r} fine-tunes {source!r}, which must be a variant that '
                'trains on every 2nd frame or fewer: the positions are those of the others'
            )
    for table in grid.tables:
        for row in table.rows:
            if row.variant and row.variant not in grid.variants:
                raise ConfigError(f'{path}: {table.name} shows {row.variant!r}, no variant')
    for name in grid.variants:
        for budget in (Budget(), *grid.budgets.values()):
            recipe_of(grid, name, budget, {})


def _variant(entry: object, place: str) -> Variant:
    values = _mapping(entry, place)
    every = _count(values.get('every', 1), f'{place}: every', least=1)
    return Variant(_changes(values), every, str(values.get('fine_tunes', '')))


def _budget(entry: object, place: str) -> Budget:
    values = _mapping(entry, place)
    counts = [_count(values.get(key, 0), f'{place}: {key}') for key in ('frames', 'test_frames')]
    return Budget(_changes(values), *counts)


def _table(entry: object, place: str) -> TableLayout:
    keys = ('name', 'title', 'layout', 'columns', 'rows', 'average')
    values = _mapping(entry, f'{place}: table', keys)
    for key in keys[:-1]:
        if key not in values:
            raise ConfigError(f'{place}: a table has no {key}')
    name = f'{place}: {values["name"]}'
    if values['layout'] not in LAYOUTS:
        raise ConfigError(f'{name}: the layout {values["layout"]!r} is none of {LAYOUTS}')
    columns = tuple(map(str, _list(values['columns'], name)))
    rows = []
    for item in _list(values['rows'], name):
        row = _mapping(item, name, ('label', 'variant', 'published'))
        label = tuple(map(str, _list(row.get('label'), f'{name}: label')))
        if len(label) != len(columns):
            raise ConfigError(f'{name}: {label} must have {len(columns)} entries, as the columns')
        published = _mapping(row.get('published') or {}, f'{name}: published')
        cells = {str(scene): str(cell) for scene, cell in published.items()}
        rows.append(Row(label, str(row.get('variant', '')), cells))
    return TableLayout(
        name=str(values['name']),
        title=str(values['title']),
        layout=values['layout'],
        columns=columns,
        rows=tuple(rows),
        average=bool(values.get('average', True)),
    )


def _changes(values: Mapping[str, Any]) -> dict[str, Any]:
    own = ('every', 'fine_tunes', 'frames', 'test_frames')
    return {key: value for key, value in values.items() if key not in own}


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f'the grid {path} cannot be read: {error}') from error


def _mapping(value: object, place: str, known: Iterable[str] = ()) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f'{place} must have entries of the form "key: value", not {value!r}')
    unknown = [key for key in value if known and key not in known]
    if unknown:
        raise ConfigError(f'{place}: {unknown[0]!r} is none of {", ".join(known)}')
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f'{place} must be a list, not {value!r}')
    return value


def _count(value: object, place: str, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f'{place} is {value!r}; it must be a whole number of at least {least}')
    return value
