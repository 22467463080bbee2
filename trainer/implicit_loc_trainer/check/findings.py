"""What a check found, graded."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How bad a finding is: an ERROR makes the recording unfit to train on."""

    OK = 'OK'
    WARN = 'WARN'
    ERROR = 'ERROR'


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        code: a stable name for programs, for instance 'world-to-camera'.
        grade: how bad it is.
        message: what was found, with its figures.
        advice: what to do about it; empty where nothing has to be done.
        values: the figures, for programs; JSON types alone.
    """

    code: str
    grade: Grade
    message: str
    advice: str = ''
    values: dict[str, Any] = field(default_factory=dict)


def names_of(names: list[str], shown: int = 8) -> str:
    """A few names in words: `a, b, c and 12 more`."""
    text = ', '.join(names[:shown])
    return f'{text} and {len(names) - shown} more' if len(names) > shown else text
