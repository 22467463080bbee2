"""What a run wrote down about itself: the CSV log of the training."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_FILE = 'metrics.csv'
# Not measured, but where a measurement stands.
_KEYS = ('epoch', 'step')


@dataclass(frozen=True)
class Curve:
    """A quantity over the training.

    Attributes:
        epochs: (N,), ascending; 1 = after the first epoch.
        values: (N,), finite.
    """

    epochs: FloatArray
    values: FloatArray


def read_log(folder: Path) -> Mapping[str, Curve]:
    """The curves of a run, by the name that they were logged under; empty without a log.

    A resumed run has one file for each of its parts. Where parts overlap, the later one counts:
    its epochs are those that the checkpoint has seen. Lines that a crash has cut are left out.

    Args:
        folder: of the run.

    Raises:
        OSError: a file cannot be read.
    """
    measured: dict[str, dict[float, float]] = {}
    for path in sorted(folder.glob(f'log/**/{_FILE}'), key=_part):
        rows = _rows(path)
        first = min((row['epoch'] for row in rows), default=math.inf)
        for values in measured.values():
            for epoch in [epoch for epoch in values if epoch >= first]:
                del values[epoch]
        for row in rows:
            for name in row.keys() - set(_KEYS):
                measured.setdefault(name, {})[row['epoch']] = row[name]
    curves = {}
    for name in sorted(measured):
        if measured[name]:
            pairs = np.array(sorted(measured[name].items()))
            curves[name] = Curve(pairs[:, 0] + 1.0, pairs[:, 1])
    return curves


def _part(path: Path) -> tuple[int, str]:
    """Lightning counts the parts of a resumed run in the name of their folder."""
    number = path.parent.name.rpartition('_')[2]
    return (int(number) if number.isdecimal() else -1, str(path))


def _rows(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each line that has an epoch."""
    with path.open(encoding='utf-8', errors='replace', newline='') as file:
        lines = (line.replace('\0', '') for line in file)
        rows = [_numbers(row) for row in csv.DictReader(lines)]
    return [row for row in rows if 'epoch' in row]


def _numbers(row: Mapping[str | None, object]) -> dict[str, float]:
    numbers = {}
    for name, text in row.items():
        try:
            value = float(str(text))
        except ValueError:
            continue
        if name and math.isfinite(value):
            numbers[name] = value
    return numbers
