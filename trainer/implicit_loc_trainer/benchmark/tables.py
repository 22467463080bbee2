"""What was measured, as tables that people read."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from implicit_loc_trainer.benchmark.alone import Needs
from implicit_loc_trainer.benchmark.candidates import CANDIDATES, LOCALIZE, PAPER
from implicit_loc_trainer.benchmark.running import Benchmark, Row
from implicit_loc_trainer.benchmark.situations import Situation
from implicit_loc_trainer.benchmark.stages import MEASURED


def tables(result: Benchmark) -> list[Table]:
    """All tables, the checkpoint's own size first where it was measured."""
    measured = [floor.situation for floor in result.floors]
    shown = result.own if result.own in measured else measured[0]
    return [comparison(result, shown), growth(result), floor_table(result, shown)]


def comparison(result: Benchmark, situation: Situation) -> Table:
    """Every candidate and stage at one size."""
    rows = [row for row in result.rows if (row.height, row.stride) == _size(situation)]
    paper = next((row.times.median_ms for row in rows if row.name == PAPER), None)
    table = _table(
        f'At {_described(situation, result.own)}',
        *('', 'runtime', 'median ms', '95 %', '99 %', 'images/s', 'memory MB', 'start s'),
        'x paper',
    )
    for row in rows:
        times, is_whole = row.times, not row.name.startswith('stage:')
        needs = ('-', '-') if row.needs is None else _needs(row.needs)
        table.add_row(
            row.name if is_whole else f'  {row.name}',
            row.runtime,
            *(_number(value) for value in (times.median_ms, times.p95_ms, times.p99_ms)),
            _number(times.images_per_s) if is_whole else '',
            *(needs if is_whole else ('', '')),
            f'{times.median_ms / paper:.2f}' if paper and is_whole else '',
        )
    return table


def growth(result: Benchmark) -> Table:
    """How the medians grow with the size of the image and the number of cells."""
    sizes = [floor.situation for floor in result.floors]
    wholes = [row for row in result.rows if not row.name.startswith('stage:')]
    found = {(row.name, row.runtime, (row.height, row.stride)): row for row in wholes}
    heads = [f'{s.height} / {s.stride}{"*" if s == result.own else ""}' for s in sizes]
    title = 'Median milliseconds by height / stride; * as trained, others for speed only'
    table = _table(title, '', 'runtime', *heads)
    for name, runtime in dict.fromkeys((row.name, row.runtime) for row in wholes):
        rows = [found[name, runtime, _size(size)] for size in sizes]
        table.add_row(name, runtime, *(_number(row.times.median_ms) for row in rows))
    return table


def floor_table(result: Benchmark, situation: Situation) -> Table:
    """What the stages cost at least, and how far from it they are."""
    rates = result.rates
    rows = [row for row in result.rows if (row.height, row.stride) == _size(situation)]
    runtimes = list(dict.fromkeys(row.runtime for row in rows if row.name == LOCALIZE))
    heads = [head for runtime in runtimes for head in (f'{runtime} ms', 'x floor')]
    title = (
        f'The floor at {_described(situation, result.own)}: '
        f'{rates.multiply_adds_per_s / 1e9:.1f} G multiply-adds/s and '
        f'{rates.bytes_per_s / 1e9:.1f} GB/s, measured'
    )
    table = _table(title, 'stage', 'M multiply-adds', 'MB', 'floor ms', *heads)
    work = next(floor.stages for floor in result.floors if floor.situation == situation)
    for stage, one in work.items():
        least = rates.floor_ms(one)
        cells = []
        for runtime in runtimes:
            taken = stage_ms(rows, runtime, stage)
            cells += [_number(taken), '-' if taken is None else f'{taken / least:.1f}']
        products = f'{one.multiply_adds / 1e6:.0f}' if one.multiply_adds else ''
        table.add_row(stage, products, f'{one.megabytes:.1f}', f'{least:.2f}', *cells)
    return table


def stage_ms(rows: Sequence[Row], runtime: str, stage: str) -> float | None:
    """Median of a counted stage, the sum of its parts; None where it was not needed."""
    medians = {row.name: row.times.median_ms for row in rows if row.runtime == runtime}
    known = [medians[part] for part in MEASURED[stage] if part in medians]
    return sum(known) if known else None


def legend() -> Mapping[str, str]:
    """What the candidates are, by name."""
    return {name: kind.meaning for name, kind in CANDIDATES.items()}


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify='left')
    for index, head in enumerate(heads):
        is_name = index == 0 or head in ('runtime', 'weights')
        table.add_column(head, justify='left' if is_name else 'right', no_wrap=is_name)
    return table


def _described(situation: Situation, own: Situation) -> str:
    text = f'height {situation.height}, stride {situation.stride}'
    return f'{text} (as trained)' if situation == own else f'{text} (weights for speed only)'


def _size(situation: Situation) -> tuple[int, int]:
    return situation.height, situation.stride


def _number(value: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:.0f}' if value >= 100 else f'{value:.1f}' if value >= 1 else f'{value:.2f}'


def _needs(needs: Needs) -> tuple[str, str]:
    memory = '-' if needs.peak_mb is None else f'{needs.peak_mb:.0f}'
    return memory, _number(needs.start_s)
