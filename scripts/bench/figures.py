"""What a run means: latencies, losses and memory."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bench.session import Run, count
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.ros_messages import POSE_TYPE, parsed, stamp_of

# The memory of a process settles while it does all of its work for the first time.
SETTLED_FRAMES = 500
# What the node's diagnostics call the time of `localize`.
_LOCALIZE = 'total (ms)'
# Lines of Markdown are never broken.
_ENDLESS = 1000


@dataclass(frozen=True)
class Figures:
    """One run.

    Latency runs from the moment before an image is handed to DDS to the arrival of its pose at
    another process. The node's overhead is what it adds to `localize`, compared second by second:
    transport both ways, decoding, gate and publishing; and where images come faster than they are
    computed, the wait for the one before.

    Attributes:
        transport: raw or compressed.
        rate_hz: images per second that were to be published.
        published_hz: that were.
        published: images.
        received: by the node.
        answered: with a pose.
        overtaken: by a newer image before they were looked at.
        refused: images without a pose, and skipped ones.
        median_ms: of the latency.
        p95_ms: of the latency.
        p99_ms: of the latency.
        localize_ms: of the node's own reports.
        overhead_ms: see above.
        settled_mb: resident memory of the node after 500 answers, 10^6 bytes.
        last_mb: resident memory of the node in the end.
        watched: whether somebody looked at the debug topics.
    """

    transport: str
    rate_hz: float
    published_hz: float
    published: int
    received: int
    answered: int
    overtaken: int
    refused: int
    median_ms: float
    p95_ms: float
    p99_ms: float
    localize_ms: float
    overhead_ms: float
    settled_mb: float | None
    last_mb: float | None
    watched: bool

    @property
    def grown_mb(self) -> float | None:
        """By how much the memory has grown since it settled; None where it is not known."""
        if self.last_mb is None or self.settled_mb is None:
            return None
        return self.last_mb - self.settled_mb

    def as_json(self) -> dict[str, float | str | None]:
        """By name, with None for what is not known."""
        return _finite(asdict(self))


def _finite(values: Mapping[str, float | str | None]) -> dict[str, float | str | None]:
    """JSON knows no other numbers."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def figures(run: Run) -> Figures:
    """Sum up a run."""
    latencies = [(pose.time - _stamp(pose.data)) / 1e6 for pose in run.poses]
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if latencies else [math.nan] * 3
    (_, first), (_, last) = run.reports[0], run.reports[-1]
    seconds = _seconds(run)

    def grown(*keys: str) -> int:
        return sum(count(last, key) - count(first, key) for key in keys)

    settled = None
    if len(run.poses) > SETTLED_FRAMES:
        settled = run.memory.at(run.poses[SETTLED_FRAMES - 1].time)
    return Figures(
        transport=run.transport,
        rate_hz=run.rate_hz,
        published_hz=(run.published - 1) / run.seconds if run.published > 1 else math.nan,
        published=run.published,
        received=grown('images received'),
        answered=len({_stamp(pose.data) for pose in run.poses}),
        overtaken=grown('images overtaken by newer ones'),
        refused=grown('images refused', 'images skipped'),
        median_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        localize_ms=_median([localize for localize, _ in seconds]),
        overhead_ms=_median([latency - localize for localize, latency in seconds]),
        settled_mb=settled,
        last_mb=run.memory.last,
        watched=run.watched,
    )


def _stamp(data: bytes) -> int:
    return stamp_of(parsed(data, POSE_TYPE).header)


def _seconds(run: Run) -> list[tuple[float, float]]:
    """Milliseconds of `localize` and of the latency, means of what each report is about."""
    found = []
    for (begin, _), (end, values) in pairwise(run.reports):
        poses = [pose for pose in run.poses if begin <= pose.time < end]
        if poses and _LOCALIZE in values:
            latency = mean((pose.time - _stamp(pose.data)) / 1e6 for pose in poses)
            found.append((float(values[_LOCALIZE]), latency))
    return found


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def table(rows: Sequence[Figures], title: str) -> Table:
    """The figures for a reader."""
    found = Table(title=title, title_justify='left')
    found.add_column('images')
    for head in (
        *('Hz', 'published Hz', 'received', 'answered', 'overtaken', 'refused', 'median ms'),
        *('95 %', '99 %', 'localize ms', 'added ms', 'memory MB', f'grown since {SETTLED_FRAMES}'),
    ):
        found.add_column(head, justify='right')
    for row in rows:
        found.add_row(
            f'{row.transport}, watched' if row.watched else row.transport,
            f'{row.rate_hz:g}',
            f'{row.published_hz:.1f}',
            f'{row.received} of {row.published}',
            f'{row.answered} of {row.published} ({100 * row.answered / row.published:.1f} %)',
            *(str(n) for n in (row.overtaken, row.refused)),
            *(f'{ms:.1f}' for ms in (row.median_ms, row.p95_ms, row.p99_ms)),
            f'{row.localize_ms:.1f}',
            f'{row.overhead_ms:.1f}',
            '-' if row.last_mb is None else f'{row.last_mb:.0f}',
            '-' if row.grown_mb is None else f'{row.grown_mb:.1f}',
        )
    return found


@dataclass(frozen=True)
class Change:
    """What changes when somebody looks, medians over the turns; 1 is no change.

    Attributes:
        answered: images with somebody who looks, as a share of those without.
        median: likewise, of the median latency.
        p95: likewise, of the 95th percentile.
    """

    transport: str
    rate_hz: float
    answered: float
    median: float
    p95: float

    def as_json(self) -> dict[str, float | str | None]:
        """By name, with None for what is not known."""
        return _finite(asdict(self))

    def text(self) -> str:
        """For a reader, one line."""
        return (
            f'{self.transport} at {self.rate_hz:g} Hz, watched against not: {self.answered:.2f} '
            f'times the poses, {self.median:.2f} times the median latency, {self.p95:.2f} times '
            'the 95 %'
        )


def changes(rows: Sequence[Figures]) -> list[Change]:
    """Compare runs that were watched with those of the same transport and rate that were not."""
    found = []
    for transport, rate in dict.fromkeys((row.transport, row.rate_hz) for row in rows):
        turns = [row for row in rows if (row.transport, row.rate_hz) == (transport, rate)]
        watched = [row for row in turns if row.watched]
        alone = [row for row in turns if not row.watched]
        if watched and alone:
            found.append(
                Change(
                    transport,
                    rate,
                    _share([row.answered for row in watched], [row.answered for row in alone]),
                    _share([row.median_ms for row in watched], [row.median_ms for row in alone]),
                    _share([row.p95_ms for row in watched], [row.p95_ms for row in alone]),
                )
            )
    return found


def _share(watched: Sequence[float], alone: Sequence[float]) -> float:
    base = _median(alone)
    return _median(watched) / base if base else math.nan


def write_json(path: Path, rows: Sequence[Figures], settings: Mapping[str, object]) -> None:
    """Write the figures and what was measured.

    Raises:
        OSError: the file cannot be written.
    """
    values = {
        **settings,
        'rows': [row.as_json() for row in rows],
        'watched': [change.as_json() for change in changes(rows)],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2, allow_nan=False) + '\n', 'utf-8')


def write_markdown(path: Path, rows: Sequence[Figures], title: str) -> None:
    """Write the table for a page of documentation.

    Raises:
        OSError: the file cannot be written.
    """
    found = table(rows, '')
    found.title, found.box = None, box.MARKDOWN
    with replacing(path) as temporary, temporary.open('w', encoding='utf-8') as file:
        console = Console(file=file, width=_ENDLESS, highlight=False)
        console.print(f'{title}\n', markup=False)
        console.print(found)
