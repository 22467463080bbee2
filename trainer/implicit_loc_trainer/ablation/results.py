"""The results of an ablation: one line of JSON per run that has ended."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from implicit_loc.errors import ImplicitLocError


class ResultsError(ImplicitLocError):
    """The file of results cannot be used."""


@dataclass(frozen=True)
class Result:
    """How one run ended.

    Attributes:
        variant: of the grid.
        group: of the scene.
        scene: its name.
        fingerprint: of everything that determines the run.
        reason: why it failed; empty = it did not.
        figures: medians (metres, degrees; None = infinite) of the closed form, with pnp_ before
            them those of PnP + RANSAC, with robust_ those of the default solver; milliseconds;
            output cells; seconds of training; images seen.
        machine: that ran it.
    """

    variant: str
    group: str
    scene: str
    fingerprint: str
    reason: str = ''
    figures: Mapping[str, float | None] = field(default_factory=dict)
    machine: str = ''


class Results:
    """The lines of a file; a run that has one is not run again.

    Args:
        path: the file; need not exist.

    Raises:
        ResultsError: a line is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[tuple[str, str, str, str], Result] = {}
        content = path.read_bytes() if path.is_file() else b''
        whole, _, rest = content.rpartition(b'\n')
        for number, line in enumerate(whole.split(b'\n') if whole else [], 1):
            self._keep(_parse(line, f'{path}:{number}'))
        if rest:
            # A process that was killed while it wrote left half a line: that run has not ended.
            os.truncate(path, len(content) - len(rest))

    def find(self, variant: str, group: str, scene: str, fingerprint: str) -> Result | None:
        """How a run ended, if it has."""
        return self._results.get((variant, group, scene, fingerprint))

    def add(self, result: Result) -> None:
        """Keep a result, on the disk before anything else goes on.

        Raises:
            OSError: it cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open('ab') as file:
            file.write(json.dumps(asdict(result), allow_nan=False).encode() + b'\n')
            file.flush()
            os.fsync(file.fileno())
        self._keep(result)

    def _keep(self, result: Result) -> None:
        key = (result.variant, result.group, result.scene, result.fingerprint)
        self._results[key] = result


def _parse(line: bytes, place: str) -> Result:
    try:
        values = json.loads(line)
        return Result(**{item.name: values[item.name] for item in fields(Result)})
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(
            f'{place} is no result of an ablation ({error}): choose another --output'
        ) from error
