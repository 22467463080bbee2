"""What was measured, as files."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from implicit_loc.runtimes import select_device
from implicit_loc_trainer.benchmark.running import Benchmark, Plan, Row
from implicit_loc_trainer.benchmark.stages import MEASURED
from implicit_loc_trainer.benchmark.tables import stage_ms
from implicit_loc_trainer.output_files import replacing

_PACKAGES = ('implicit_loc_ros', 'torch', 'onnxruntime', 'opencv-python-headless', 'numpy')
# Memory and start-up that were not measured.
_UNKNOWN = {'peak_mb': None, 'device_peak_mb': None, 'start_s': None}
# Lines of Markdown are never broken.
_ENDLESS = 1000


def write_json(path: Path, plan: Plan, result: Benchmark, images: str) -> None:
    """Write everything that was measured.

    Args:
        path: the file.
        plan: what was to be measured.
        result: what was.
        images: where they came from.

    Raises:
        OSError: it cannot be written.
    """
    values = {
        'checkpoint': str(plan.checkpoint),
        'height': result.own.height,
        'stride': result.own.stride,
        'images': images,
        'turns': plan.turns,
        'threads': plan.threads,
        'machine': machine(plan.device),
        'versions': _versions(),
        'rows': [_row(row) for row in result.rows],
        'rates': asdict(result.rates),
        'floor': _floor(result),
    }
    text = json.dumps(values, indent=2, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def write_markdown(path: Path, tables: Sequence[Table], about: str) -> None:
    """Write the tables for a page of documentation.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open('w', encoding='utf-8') as file:
        console = Console(file=file, width=_ENDLESS, highlight=False)
        console.print(about, markup=False)
        for table in tables:
            title, table.title, table.box = table.title, None, box.MARKDOWN
            console.print(f'\n### {title}\n', markup=False)
            console.print(table)


def machine(device: str) -> str:
    """The processor that did the work, in words."""
    chosen = select_device(device)
    if chosen.type == 'cuda':
        return torch.cuda.get_device_name(chosen)
    cpu = Path('/proc/cpuinfo')
    lines = cpu.read_text(encoding='utf-8', errors='replace').splitlines() if cpu.is_file() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{len(names)} x {names[0]}' if names else platform.processor() or platform.machine()


def _row(row: Row) -> dict[str, Any]:
    return {
        'name': row.name,
        'runtime': row.runtime,
        'height': row.height,
        'stride': row.stride,
        **asdict(row.times),
        **(_UNKNOWN if row.needs is None else asdict(row.needs)),
    }


def _floor(result: Benchmark) -> list[dict[str, Any]]:
    found = []
    for floor in result.floors:
        size = {'height': floor.situation.height, 'stride': floor.situation.stride}
        rows = [row for row in result.rows if (row.height, row.stride) == tuple(size.values())]
        for stage, work in floor.stages.items():
            runtimes = dict.fromkeys(row.runtime for row in rows)
            measured = {one: stage_ms(rows, one, stage) for one in runtimes}
            found.append(
                {
                    'stage': stage,
                    **size,
                    **asdict(work),
                    'floor_ms': result.rates.floor_ms(work),
                    'parts': list(MEASURED[stage]),
                    'measured_ms': {one: taken for one, taken in measured.items() if taken},
                }
            )
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
