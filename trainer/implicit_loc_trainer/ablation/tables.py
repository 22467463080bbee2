"""The tables of an ablation, in the layout of Altillawi et al. 2023."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from implicit_loc_trainer.ablation.grid import Row, TableLayout
from implicit_loc_trainer.ablation.results import Result
from implicit_loc_trainer.ablation.scenes import Scene

# What stands in a cell: no run yet, a run that failed, a frame that is lost in the median.
NOT_RUN, FAILED, INFINITE = '-', 'failed', 'inf'

# The results of one row, by (group, scene).
RowResults = Mapping[tuple[str, str], Result]


@dataclass(frozen=True)
class Table:
    """Heads and cells, all of one length.

    Attributes:
        layout: of the table.
        head: of the columns.
        rows: cells.
    """

    layout: TableLayout
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def fill(layout: TableLayout, scenes: Sequence[Scene], results: Sequence[Result]) -> Table:
    """The table with the figures that are there.

    Args:
        layout: its rows name variants.
        scenes: in the order of the columns.
        results: of any variants.
    """
    columns = _COLUMNS[layout.layout](layout, scenes)
    rows = []
    for row in layout.rows:
        own = {(r.group, r.scene): r for r in results if row.variant and r.variant == row.variant}
        label = tuple(_label(text, own) for text in row.label)
        rows.append((*label, *(cell(row, own) for _, cell in columns)))
    head = (*layout.columns, *(name for name, _ in columns))
    return Table(layout, head, tuple(rows))


Column = tuple[str, Callable[[Row, RowResults], str]]


def _scene_columns(layout: TableLayout, scenes: Sequence[Scene]) -> list[Column]:
    """A column per scene, and the average of each group after its scenes."""
    columns: list[Column] = []
    for group in _groups(scenes):
        members = [scene for scene in scenes if scene.group == group]
        columns += [(scene.name, _errors([scene], scene.name, 2)) for scene in members]
        if layout.average and len(members) > 1:
            name = f'{group} average'.strip()
            columns.append((name, _errors(members, name, 2)))
    return columns


def _group_columns(_: TableLayout, scenes: Sequence[Scene]) -> list[Column]:
    """A column per group of scenes: the average of their medians."""
    columns: list[Column] = []
    for group in _groups(scenes):
        members = [scene for scene in scenes if scene.group == group]
        name = group or (members[0].name if len(members) == 1 else 'average')
        columns.append((name, _errors(members, name, 3)))
    return columns


def _run_time_columns(_: TableLayout, scenes: Sequence[Scene]) -> list[Column]:
    def resolution(row: Row, own: RowResults) -> str:
        cells = [_average(own, name) for name in ('rows', 'columns')]
        return _or_published(row, own, 'Output Resolution', '{:.0f} x {:.0f}', cells)

    def milliseconds(head: str, name: str) -> Column:
        return head, lambda row, own: _or_published(
            row, own, head, '{:.1f} ms', [_average(own, name)]
        )

    def total(row: Row, own: RowResults) -> str:
        value = _average(own, 'total_ms')
        cells = [value, None if value is None else 1000 / value]
        return _or_published(row, own, 'Total (ms) - FPS', '{:.1f} ms - {:.0f} Hz', cells)

    return [
        ('Output Resolution', resolution),
        milliseconds('Data Processing', 'processing_ms'),
        milliseconds('Pose Computation', 'pose_ms'),
        ('Total (ms) - FPS', total),
    ]


def _idea_columns(_: TableLayout, scenes: Sequence[Scene]) -> list[Column]:
    """The poses of three solvers, and what the training cost."""

    def figure(name: str, pattern: str, factor: float) -> Callable[[Row, RowResults], str]:
        def cell(row: Row, own: RowResults) -> str:
            value = _average(own, name)
            scaled = [None if value is None else factor * value]
            return _or_published(row, own, name, pattern, scaled)

        return cell

    return [
        ('Closed form (cm/deg)', _errors(scenes, 'Closed form (cm/deg)', 1, 100)),
        ('PnP + RANSAC (cm/deg)', _errors(scenes, 'PnP + RANSAC (cm/deg)', 1, 100, 'pnp_')),
        ('Robust (cm/deg)', _errors(scenes, 'Robust (cm/deg)', 1, 100, 'robust_')),
        ('Images seen', figure('images_seen', '{:.0f}', 1)),
        ('Training (min)', figure('training_s', '{:.1f}', 1 / 60)),
    ]


_COLUMNS: dict[str, Callable[[TableLayout, Sequence[Scene]], list[Column]]] = {
    'scenes': _scene_columns,
    'averages': _group_columns,
    'run time': _run_time_columns,
    'ideas': _idea_columns,
}


def _errors(
    scenes: Sequence[Scene], name: str, digits: int, factor: float = 1.0, prefix: str = ''
) -> Callable[[Row, RowResults], str]:
    """Cells of medians, averaged over scenes: metres/degrees, or a multiple of metres."""

    def cell(row: Row, own: RowResults) -> str:
        if not row.variant:
            return row.published.get(name, NOT_RUN)
        found = [own.get((scene.group, scene.name)) for scene in scenes]
        if any(result is not None and result.reason for result in found):
            return FAILED
        results = [result for result in found if result is not None]
        # An average over some of the scenes would be compared with one over all.
        if len(results) < len(scenes) or not scenes:
            return NOT_RUN
        # Results of before the figure existed do not have it.
        if any(f'{prefix}median_translation_m' not in result.figures for result in results):
            return NOT_RUN
        translation = _mean(results, f'{prefix}median_translation_m')
        rotation = _mean(results, f'{prefix}median_rotation_deg')
        if not math.isfinite(translation + rotation):
            return INFINITE
        return f'{factor * translation:.{digits}f}/{rotation:.2f}'

    return cell


def _mean(results: Sequence[Result], name: str) -> float:
    values = [result.figures.get(name) for result in results]
    return sum(math.inf if value is None else value for value in values) / len(values)


def _average(own: RowResults, name: str) -> float | None:
    """Over the scenes that have the figure."""
    found = [result.figures.get(name) for result in own.values()]
    values = [value for value in found if value is not None]
    return sum(values) / len(values) if values else None


def _or_published(
    row: Row, own: RowResults, column: str, pattern: str, values: Sequence[float | None]
) -> str:
    if not row.variant:
        return row.published.get(column, NOT_RUN)
    if any(value is None for value in values):
        return FAILED if any(result.reason for result in own.values()) else NOT_RUN
    return pattern.format(*values)


def _label(text: str, own: RowResults) -> str:
    """The text of a row, with its run time where it asks for that."""
    if '{total_ms}' not in text:
        return text
    value = _average(own, 'total_ms')
    return text.replace('{total_ms}', NOT_RUN if value is None else f'{value:.1f}')


def _groups(scenes: Sequence[Scene]) -> list[str]:
    return list(dict.fromkeys(scene.group for scene in scenes))
