"""The tables of an ablation as Markdown and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

from implicit_loc_trainer.ablation.grid import Grid
from implicit_loc_trainer.ablation.results import Result
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.ablation.tables import Table, fill
from implicit_loc_trainer.output_files import replacing

MARKDOWN = 'tables.md'


def write_tables(
    folder: Path, grid: Grid, scenes: Sequence[Scene], results: Sequence[Result], about: str
) -> list[Path]:
    """Writes one Markdown page with all tables, and each as CSV.

    Args:
        folder: to write to.
        grid: whose tables they are.
        scenes: in the order of the columns.
        results: of the runs so far.
        about: what every run was allowed, in words.

    Returns:
        What was written.

    Raises:
        OSError: it cannot be written.
    """
    tables = [fill(layout, scenes, results) for layout in grid.tables]
    parts = [_heading(scenes, results, about), *map(_markdown, tables), _failures(results)]
    page = folder / MARKDOWN
    with replacing(page) as temporary:
        temporary.write_text('\n'.join(part for part in parts if part), encoding='utf-8')
    written = [page]
    for table in tables:
        path = folder / f'{table.layout.name}.csv'
        with replacing(path) as temporary, temporary.open('w', encoding='utf-8', newline='') as f:
            writer = csv.writer(f, lineterminator='\n')
            writer.writerow(table.head)
            writer.writerows(table.rows)
        written.append(path)
    return written


def _heading(scenes: Sequence[Scene], results: Sequence[Result], about: str) -> str:
    machines = ', '.join(sorted({result.machine for result in results if result.machine}))
    names = ', '.join(f'{scene.group} {scene.name}'.strip() for scene in scenes)
    return (
        '# Ablation\n\n'
        'Median errors, metres/degrees unless a column says otherwise. A frame without a pose\n'
        'counts as infinitely wrong; `-`: not run; an average needs all of its scenes.\n\n'
        f'- Scenes: {names}\n'
        f'- Budget of a run: {about}\n'
        f'- Machine: {machines or "none yet"}\n'
    )


def _markdown(table: Table) -> str:
    numbers = len(table.head) - len(table.layout.columns)
    rule = ['---'] * len(table.layout.columns) + ['---:'] * numbers
    lines = [f'## {table.layout.title}', '']
    for cells in (table.head, rule, *table.rows):
        lines.append(f'| {" | ".join(cell.replace("|", "/") for cell in cells)} |')
    return '\n'.join([*lines, ''])


def _failures(results: Sequence[Result]) -> str:
    failed = [result for result in results if result.reason]
    if not failed:
        return ''
    lines = [f'- {result.variant} on {result.scene}: {result.reason}' for result in failed]
    return '\n'.join(['## Failures', '', *lines, ''])
