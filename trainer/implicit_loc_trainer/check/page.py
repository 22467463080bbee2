"""One page of pictures about a recording, drawn without pyplot's global state or a display."""

import textwrap
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from implicit_loc_trainer.check import panels
from implicit_loc_trainer.check.checking import Report
from implicit_loc_trainer.check.example import draw_example
from implicit_loc_trainer.check.findings import Finding, Grade
from implicit_loc_trainer.output_files import replacing

Panel = Callable[[Axes, Report], None]

COLOURS = {Grade.OK: '#2a7f3f', Grade.WARN: '#c77700', Grade.ERROR: '#c1121f'}

# Findings that the page has room for, and characters a line.
_SHOWN, _WIDTH, _LINES = 9, 190, 2

# Heights of the rows below the findings, and the panels of each with their widths.
ROWS: tuple[tuple[float, dict[Panel, float]], ...] = (
    (
        5.2,
        {panels.draw_trajectory: 1.0, panels.draw_hypotheses: 1.15, panels.draw_offset: 0.85},
    ),
    (5.2, {draw_example: 2.2, panels.draw_depth: 0.8}),
    (
        3.4,
        {panels.draw_sharpness: 1.0, panels.draw_speed: 1.0, panels.draw_directions: 1.0},
    ),
)


def draw(path: Path, report: Report, name: str) -> None:
    """Writes the page as PNG.

    Args:
        path: the file; parent folders are made.
        report: what was found.
        name: of the recording.

    Raises:
        DataError: an image that was read before cannot be read any more.
        OSError: the file cannot be written.
    """
    figure = page(report, name)
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png', dpi=100)


def page(report: Report, name: str) -> Figure:
    """The page as a figure."""
    lines = _lines(report.findings)
    heights = [0.5 + 0.24 * len(lines), *(height for height, _ in ROWS)]
    figure = Figure(figsize=(18.0, sum(heights)), layout='constrained')
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    _draw_findings(parts[0].subplots(), report, lines, name)
    for part, (_, row) in zip(parts[1:], ROWS, strict=True):
        axes = part.subplots(1, len(row), width_ratios=list(row.values()))
        for axis, draw_panel in zip(axes, row, strict=True):
            draw_panel(axis, report)
    return figure


def _lines(findings: list[Finding]) -> list[tuple[Grade | None, str]]:
    """The findings, worst first, broken into lines; only the first line of each has a grade."""
    lines: list[tuple[Grade | None, str]] = []
    for finding in findings[:_SHOWN]:
        text = finding.message
        if finding.advice and finding.grade is not Grade.OK:
            text += f'  ->  {finding.advice}'
        broken = textwrap.wrap(text, _WIDTH, max_lines=_LINES, placeholder=' ...')
        lines.append((finding.grade, broken[0]))
        lines += [(None, further) for further in broken[1:]]
    if len(findings) > _SHOWN:
        lines.append((None, f'and {len(findings) - _SHOWN} more'))
    return lines


def _draw_findings(
    axes: Axes, report: Report, lines: list[tuple[Grade | None, str]], name: str
) -> None:
    axes.set_axis_off()
    verdict = 'fit to train on' if report.is_fit else 'NOT fit to train on'
    colour = COLOURS[Grade.OK if report.is_fit else Grade.ERROR]
    axes.set_title(f'{name}: {verdict}', loc='left', fontsize=17, color=colour, weight='bold')
    for row, (grade, text) in enumerate(lines):
        height = 1.0 - (row + 0.5) / len(lines)
        if grade is not None:
            axes.text(0.0, height, grade.value, color=COLOURS[grade], weight='bold', va='center')
        # Names of frames may hold dollar signs, which would be read as formulas.
        axes.text(0.04, height, text, va='center', parse_math=False)
