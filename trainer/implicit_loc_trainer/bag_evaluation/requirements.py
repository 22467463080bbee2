"""What a bag's figures must be, for machines that decide by the exit status."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.bag_evaluation.figures import FIGURE_NAMES

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    '<': operator.lt,
    '<=': operator.le,
    '>': operator.gt,
    '>=': operator.ge,
}
_PATTERN = re.compile(r'\s*(\w+)\s*(<=|>=|<|>)\s*(\S+)\s*')


class RequirementError(ImplicitLocError):
    """A requirement is malformed; the message names the figures that there are."""


@dataclass(frozen=True)
class Requirement:
    """One comparison: figure, comparison, limit."""

    figure: str
    comparison: str
    limit: float

    def is_met(self, figures: Mapping[str, float]) -> bool:
        """Whether the figure is so; one that is not known (NaN) never is."""
        return _COMPARISONS[self.comparison](figures[self.figure], self.limit)

    def __str__(self) -> str:
        return f'{self.figure} {self.comparison} {self.limit:g}'

    def verdict(self, figures: Mapping[str, float]) -> str:
        """The requirement and what was found, one line."""
        found = figures[self.figure]
        value = 'not known' if math.isnan(found) else f'{found:.6g}'
        return f'{"met" if self.is_met(figures) else "FAILED"}: {self}, found {value}'


def parse_requirements(text: str, names: Sequence[str] = FIGURE_NAMES) -> list[Requirement]:
    """Comparisons such as `median_translation_m<0.1,recall_25cm_10deg>0.95`.

    Args:
        text: apart by commas.
        names: of the figures that there will be.

    Raises:
        RequirementError: one of them is malformed, or names a figure that does not exist.
    """
    return [_parse(part, names) for part in text.split(',')]


def _parse(text: str, names: Sequence[str]) -> Requirement:
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise RequirementError(
            f'the requirement {text.strip()!r} is no comparison such as '
            f'median_translation_m<0.1 (< <= > >=, several apart by commas); known figures: '
            f'{", ".join(names)}'
        )
    figure, comparison, number = match.groups()
    if figure not in names:
        raise RequirementError(
            f'the requirement {text.strip()!r} names no known figure; known are {", ".join(names)}'
        )
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise RequirementError(
            f'the requirement {text.strip()!r}: {number!r} is no number to compare with'
        )
    return Requirement(figure, comparison, limit)
