"""One picture of a replay: the way from above, and the errors over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from implicit_loc_trainer.evaluation.drawing import ERROR_COLOUR, ESTIMATED_COLOUR, TRUE_COLOUR
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.output_files import replacing

# Single wild estimates must not make all others unreadable.
SHOWN_SHARE = 98.0


def draw(path: Path, title: str, frames: Sequence[FrameResult]) -> None:
    """Write the picture as PNG.

    Args:
        path: the file.
        title: one line.
        frames: in the order of time, at least one.

    Raises:
        OSError: it cannot be written.
    """
    figure = Figure(figsize=(13.0, 6.0), layout='constrained')
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.1, 1.0))
    _way(figure.add_subplot(grid[:, 0]), frames)
    translation = figure.add_subplot(grid[0, 1])
    rotation = figure.add_subplot(grid[1, 1], sharex=translation)
    time = np.array([frame.timestamp for frame in frames])
    centimetres = np.array([100.0 * frame.translation_error_m for frame in frames])
    degrees = np.array([frame.rotation_error_deg for frame in frames])
    _over_time(translation, time, centimetres, 'position error (cm)')
    _over_time(rotation, time, degrees, 'rotation error (deg)')
    translation.tick_params(labelbottom=False)
    rotation.set_xlabel('time (s)')
    with replacing(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110)


def _way(axis: Axes, frames: Sequence[FrameResult]) -> None:
    """True and estimated positions along the two longest axes of the true way."""
    true = np.array([frame.true_pose[:3, 3] for frame in frames])
    nowhere = np.full((4, 4), np.nan)
    estimated = np.array(
        [(nowhere if f.estimated_pose is None else f.estimated_pose)[:3, 3] for f in frames]
    )
    # For a camera that is carried about, the axis of least extent is the height.
    across, up = sorted(np.argsort(-np.ptp(true, axis=0), kind='stable')[:2])
    # A NaN row ends a line, so one line object draws the errors of all frames.
    errors = np.stack((true, estimated, np.full_like(true, np.nan)), axis=1).reshape(-1, 3)
    for positions, label, style in (
        (errors, 'error', {'color': ERROR_COLOUR, 'linewidth': 0.7, 'alpha': 0.7}),
        (true, 'true', {'color': TRUE_COLOUR, 'linewidth': 1.2}),
        (estimated, 'estimated', {'color': ESTIMATED_COLOUR, 'marker': '.', 'linestyle': ''}),
    ):
        axis.plot(positions[:, across], positions[:, up], label=label, **style)
    low, high = true.min(axis=0), true.max(axis=0)
    margin = max(0.25 * float((high - low).max()), 0.25)
    axis.set_xlim(low[across] - margin, high[across] + margin)
    axis.set_ylim(low[up] - margin, high[up] + margin)
    axis.set_aspect('equal', adjustable='box')
    axis.set_xlabel(f'{"xyz"[across]} (m)')
    axis.set_ylabel(f'{"xyz"[up]} (m)')
    axis.grid(alpha=0.3)
    axis.legend(loc='upper right')
    beyond = ((estimated < low - margin) | (estimated > high + margin))[:, [across, up]]
    outside = int(beyond.any(axis=1).sum())
    axis.set_title(
        'From above' + (f', {outside} estimates beyond the edge' if outside else ''),
        fontsize='medium',
    )


def _over_time(
    axis: Axes, time: NDArray[np.float64], errors: NDArray[np.float64], label: str
) -> None:
    found = np.isfinite(errors)
    axis.plot(time[found], errors[found], color=ERROR_COLOUR, marker='.', linewidth=0.6)
    axis.set_ylabel(label)
    axis.grid(alpha=0.3)
    if not found.any():
        return
    median = float(np.median(errors[found]))
    top = 1.5 * float(np.percentile(errors[found], SHOWN_SHARE)) or 1.0
    axis.set_ylim(0.0, top)
    axis.axhline(median, color=TRUE_COLOUR, linewidth=0.8, linestyle='--')
    above = int((errors[found] > top).sum())
    lost = int((~found).sum())
    notes = [f'median {median:.1f}']
    notes += [f'{above} above the edge'] if above else []
    notes += [f'{lost} without a pose (x)'] if lost else []
    axis.set_title(', '.join(notes), fontsize='medium')
    axis.plot(time[~found], np.full(lost, 0.03 * top), 'x', color=TRUE_COLOUR)
