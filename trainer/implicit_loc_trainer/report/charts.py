"""Charts for the report: matplotlib's SVG, in the colours of the page instead of its own."""

import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from implicit_loc_trainer.evaluation.drawing import new_figure, tick_1_2_5
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult
from implicit_loc_trainer.evaluation.pictures import error_figure, trajectory_figure
from implicit_loc_trainer.evaluation.tables import title
from implicit_loc_trainer.evaluation.trust_pictures import (
    deviation_figure,
    nees_figure,
    reliability_figure,
)
from implicit_loc_trainer.report.run_log import Curve

_STYLE = {
    'svg.fonttype': 'none',
    'font.family': 'sans-serif',
    'font.size': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlesize': 11,
    'axes.linewidth': 0.8,
    'legend.frameon': False,
    'lines.linewidth': 1.6,
}
# What matplotlib paints, and the variables of page.css that take its place: they differ between
# light and dark.
_PAGE_COLOURS = {
    '#000000': 'var(--ink)',
    '#222222': 'var(--ink)',
    '#ffffff': 'none',
    '#b0b0b0': 'var(--faint)',
    '#b2b2b2': 'var(--faint)',
    '#1f77b4': 'var(--blue)',
    '#ff7f0e': 'var(--orange)',
    '#2ca02c': 'var(--green)',
    '#d62728': 'var(--red)',
    '#9467bd': 'var(--violet)',
}
_LOSS_TOTAL = 'loss/total'
_RATE = 'learning_rate'
_TRANSLATION = 'validation/median_translation_m'
_ROTATION = 'validation/median_rotation_deg'


def error_chart(evaluation: Evaluation) -> str:
    """Share of the frames within an error, of every method."""
    methods = {title(name): frames for name, frames in evaluation.methods.items()}
    with rc_context(_STYLE):
        return as_svg(error_figure(methods), 'errors')


def trajectory_chart(frames: Sequence[FrameResult]) -> str:
    """True and estimated positions in plan view."""
    with rc_context(_STYLE):
        return as_svg(trajectory_figure(frames), 'trajectory')


def timeline_chart(frames: Sequence[FrameResult]) -> str:
    """Errors along the recording: where in the place it is good, and where it is not."""
    stamps = np.array([frame.timestamp for frame in frames])
    errors = (
        ('cm', np.array([100.0 * frame.translation_error_m for frame in frames])),
        ('deg', np.array([frame.rotation_error_deg for frame in frames])),
    )
    with rc_context(_STYLE):
        figure = new_figure(10.0, 3.6)
        rows = figure.subplots(2, 1, sharex=True)
        for axis, (unit, values), colour in zip(rows, errors, ('C0', 'C1'), strict=True):
            lost = ~np.isfinite(values)
            axis.plot(stamps[~lost], values[~lost], '.', color=colour, markersize=4)
            if lost.any():
                # At the upper edge, whatever the scale.
                axis.plot(
                    stamps[lost], np.full(lost.sum(), 0.97), 'x', color='C3',
                    transform=axis.get_xaxis_transform(), label='lost',
                )  # fmt: skip
                axis.legend(loc='center right')
            axis.set_ylabel(f'error ({unit})')
            axis.set_ylim(bottom=0.0)
            axis.grid(alpha=0.3)
        rows[1].set_xlabel('time in the recording (s)')
        return as_svg(figure, 'timeline')


def trust_charts(frames: Sequence[FrameResult], min_confidence: float) -> dict[str, str]:
    """What confidences and covariances are worth, by their title; none without any pose."""
    if all(frame.estimated_pose is None for frame in frames):
        return {}
    figures = {
        'Error against the error that the covariance predicts': deviation_figure,
        'Squared errors over their covariances': nees_figure,
        'Confidence against the share of correct frames': reliability_figure,
    }
    with rc_context(_STYLE):
        return {
            name: as_svg(draw(frames, min_confidence), f'trust{number}')
            for number, (name, draw) in enumerate(figures.items())
        }


def training_charts(curves: Mapping[str, Curve]) -> dict[str, str]:
    """Losses, errors on held-out frames and learning rate over the epochs, by their title.

    Charts without a curve are left out.
    """
    losses = {name: curve for name, curve in curves.items() if name.startswith('loss/')}
    # The sum first: it is what the training minimises.
    ordered = sorted(losses, key=lambda name: (name != _LOSS_TOTAL, name))
    plans = (
        ('Losses', 'loss', [(name.removeprefix('loss/'), losses[name]) for name in ordered]),
        ('Held-out frames: median position error', 'cm', _one(curves, _TRANSLATION, 100.0)),
        ('Held-out frames: median rotation error', 'deg', _one(curves, _ROTATION, 1.0)),
        ('Learning rate', 'learning rate', _one(curves, _RATE, 1.0)),
    )
    charts = {}
    with rc_context(_STYLE):
        for number, (title, unit, lines) in enumerate(plans):
            if lines:
                figure = new_figure(5.6, 3.2)
                _curves(figure.subplots(), unit, lines)
                charts[title] = as_svg(figure, f'training{number}')
    return charts


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element that takes its colours from the page.

    Args:
        figure: to draw.
        name: unique in the page: identifiers within the chart begin with it.
    """
    buffer = io.StringIO()
    with rc_context({'svg.hashsalt': name}):
        figure.savefig(buffer, format='svg', transparent=True)
    text = buffer.getvalue()
    text = text[text.index('<svg') :]
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    # Its style is for '*', which is the whole page.
    text = re.sub(r'<style[^>]*>.*?</style>', '', text, flags=re.DOTALL)
    text = re.sub(r'<!--.*?-->', '', text, flags=re.DOTALL)
    text = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', '', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', text)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', text)
    text = re.sub(r'font: ([\d.]+px) [^;"]*', r'font-size: \1', text)
    for painted, variable in _PAGE_COLOURS.items():
        text = text.replace(painted, variable)
    return _own_identifiers(text, name)


def _own_identifiers(text: str, name: str) -> str:
    """Keeps the identifiers that are referred to, and makes them unique in the page."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ''

    text = re.sub(r' id="([^"]*)"', renamed, text)
    return re.sub(r'((?:href="|url\()#)', rf'\g<1>{name}-', text)


def _one(curves: Mapping[str, Curve], name: str, factor: float) -> list[tuple[str, Curve]]:
    if name not in curves:
        return []
    return [('', Curve(curves[name].epochs, factor * curves[name].values))]


def _curves(axis: Axes, unit: str, lines: Sequence[tuple[str, Curve]]) -> None:
    for name, curve in lines:
        marker = '.' if len(curve.epochs) < 40 else ''
        axis.plot(curve.epochs, curve.values, label=name, marker=marker)
    if all((curve.values > 0).all() for _, curve in lines):
        axis.set_yscale('log')
        low, high = axis.get_ylim()
        # Between two powers of ten a logarithmic axis would have no number at all.
        tick_1_2_5(axis.yaxis, high / low)
    axis.set_xlabel('epoch')
    axis.set_ylabel(unit)
    axis.grid(alpha=0.3)
    if len(lines) > 1:
        axis.legend()
