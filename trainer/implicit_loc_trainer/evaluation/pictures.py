"""Pictures of an evaluation, drawn without pyplot's global state or a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from implicit_loc_trainer.evaluation.colours import world_bounds, world_colours
from implicit_loc_trainer.evaluation.drawing import (
    ERROR_COLOUR,
    ESTIMATED_COLOUR,
    TRUE_COLOUR,
    new_figure,
    tick_1_2_5,
)
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult, ShownFrame
from implicit_loc_trainer.evaluation.lost import LostDetection
from implicit_loc_trainer.evaluation.tables import title
from implicit_loc_trainer.evaluation.trajectories import with_gaps
from implicit_loc_trainer.evaluation.trust_pictures import (
    deviation_figure,
    nees_figure,
    reliability_figure,
)
from implicit_loc_trainer.output_files import replacing

FloatArray = NDArray[np.float64]

ERRORS_PICTURE = 'errors.png'
TRAJECTORY_PICTURE = 'trajectory.png'
BEST_PICTURE = 'best_frames.png'
WORST_PICTURE = 'worst_frames.png'
RELIABILITY_PICTURE = 'reliability.png'
NEES_PICTURE = 'nees.png'
DEVIATIONS_PICTURE = 'deviations.png'
PICTURES = (
    ERRORS_PICTURE,
    TRAJECTORY_PICTURE,
    BEST_PICTURE,
    WORST_PICTURE,
    RELIABILITY_PICTURE,
    NEES_PICTURE,
    DEVIATIONS_PICTURE,
)

# A logarithmic axis has no zero; nobody can tell errors below this from it.
SMALLEST_SHOWN = 1e-2


def draw(
    folder: Path,
    evaluation: Evaluation,
    min_confidence: float,
    lost: LostDetection | None = None,
) -> list[Path]:
    """Writes all pictures; those of localized frames only where there is one.

    Args:
        folder: is made where it does not exist.
        evaluation: with at least one frame.
        min_confidence: that of an accepted pose at least.
        lost: results on foreign images, if there are any.

    Returns:
        The files written.

    Raises:
        DataError: an image of a shown frame cannot be read.
        OSError: a picture cannot be written.
    """
    methods = {title(name): frames for name, frames in evaluation.methods.items()}
    frames = evaluation.frames
    figures = {
        ERRORS_PICTURE: error_figure(methods),
        TRAJECTORY_PICTURE: trajectory_figure(frames),
    }
    if any(frame.estimated_pose is not None for frame in frames):
        figures[RELIABILITY_PICTURE] = reliability_figure(frames, min_confidence, lost)
        figures[NEES_PICTURE] = nees_figure(frames, min_confidence)
        figures[DEVIATIONS_PICTURE] = deviation_figure(frames, min_confidence)
    shown = evaluation.best + evaluation.worst
    if shown:
        bounds = world_bounds([frame.estimate.geometry.world_points for frame in shown])
        figures[BEST_PICTURE] = frames_figure('Best frames', evaluation.best, bounds)
        figures[WORST_PICTURE] = frames_figure('Worst localized frames', evaluation.worst, bounds)
    for name, figure in figures.items():
        with replacing(folder / name) as temporary:
            figure.savefig(temporary, format='png', dpi=120)
    return [folder / name for name in figures]


def error_figure(methods: Mapping[str, Sequence[FrameResult]]) -> Figure:
    """Share of all frames within an error; a curve that ends below 1 has lost frames.

    Args:
        methods: results by the name of the method, all over the same frames; the first one is
            drawn above the others.
    """
    figure = new_figure(10.0, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    for number, (name, frames) in enumerate(methods.items()):
        translation_cm = np.array([100.0 * frame.translation_error_m for frame in frames])
        rotation_deg = np.array([frame.rotation_error_deg for frame in frames])
        for axis, errors in zip(axes, (translation_cm, rotation_deg), strict=True):
            _cumulative(axis, errors, name, above=len(methods) - number)
    for axis, label, thresholds in (
        (axes[0], 'translation error (cm)', (5.0, 10.0, 25.0)),
        (axes[1], 'rotation error (deg)', (5.0, 10.0)),
    ):
        for threshold in thresholds:
            axis.axvline(threshold, color='0.7', linewidth=0.8, linestyle=':')
        axis.set_xscale('log')
        low, high = axis.get_xlim()
        tick_1_2_5(axis.xaxis, high / low)
        axis.set_xlabel(label)
        axis.set_ylim(0.0, 1.02)
        axis.grid(alpha=0.3)
    frame_count = len(next(iter(methods.values())))
    axes[0].set_ylabel(f'share of all {frame_count} frames')
    lines, names = axes[0].get_legend_handles_labels()
    # Within the axes it would hide the curves of many methods.
    figure.legend(lines, names, loc='outside upper center', ncols=min(len(names), 3))
    return figure


def trajectory_figure(frames: Sequence[FrameResult]) -> Figure:
    """True and estimated camera positions along the two longest axes of the true trajectory."""
    true = np.array([frame.true_pose[:3, 3] for frame in frames])
    nowhere = np.full((4, 4), np.nan)
    estimated = np.array(
        [(nowhere if f.estimated_pose is None else f.estimated_pose)[:3, 3] for f in frames]
    )
    # For a camera that is carried about, the axis of least extent is the height.
    across, up = sorted(np.argsort(-np.ptp(true, axis=0), kind='stable')[:2])
    low, high = true.min(axis=0), true.max(axis=0)
    margin = max(0.25 * float((high - low).max()), 0.25)
    figure = new_figure(8.0, 6.5)
    axis = figure.subplots()
    # A NaN row ends a line, so one line object draws the errors of all frames.
    errors = np.stack((true, estimated, np.full_like(true, np.nan)), axis=1).reshape(-1, 3)
    lost = np.isnan(estimated).any(axis=1)
    for positions, style, label in (
        (with_gaps(true), {'color': TRUE_COLOUR, 'linewidth': 1.2}, 'true'),
        (errors, {'color': ERROR_COLOUR, 'linewidth': 0.6, 'alpha': 0.6}, 'error'),
        (estimated, {'color': ESTIMATED_COLOUR, 'marker': '.', 'linestyle': ''}, 'estimated'),
        (true[lost], {'color': ERROR_COLOUR, 'marker': 'x', 'linestyle': ''}, 'lost'),
    ):
        if len(positions):
            axis.plot(positions[:, across], positions[:, up], label=label, **style)
    beyond = ((estimated < low - margin) | (estimated > high + margin))[:, [across, up]]
    outside = int(beyond.any(axis=1).sum())
    axis.set_aspect('equal', adjustable='box')
    axis.set_xlim(low[across] - margin, high[across] + margin)
    axis.set_ylim(low[up] - margin, high[up] + margin)
    axis.set_xlabel(f'{"xyz"[across]} (m)')
    axis.set_ylabel(f'{"xyz"[up]} (m)')
    axis.grid(alpha=0.3)
    axis.legend()
    note = f', {outside} estimates beyond the edge' if outside else ''
    axis.set_title(f'{len(frames)} frames, {int(lost.sum())} lost{note}')
    return figure


def frames_figure(
    title: str, frames: Sequence[ShownFrame], bounds: tuple[FloatArray, FloatArray]
) -> Figure:
    """One row per frame: image, predicted depth, world coordinates as RGB, weights.

    Args:
        title: of the picture.
        frames: at least one.
        bounds: world points (3) that become black and white, metres.
    """
    figure = new_figure(13.0, 0.7 + 2.75 * len(frames))
    figure.suptitle(title)
    rows = figure.subplots(len(frames), 4, squeeze=False)
    for row, frame in zip(rows, frames, strict=True):
        geometry, result = frame.estimate.geometry, frame.result
        row[0].imshow(frame.sample.load_image())
        depth = row[1].imshow(geometry.depth, cmap='viridis')
        figure.colorbar(depth, ax=row[1], label='m', shrink=0.8)
        row[2].imshow(world_colours(geometry.world_points, bounds))
        weights = row[3].imshow(geometry.weights, cmap='magma', vmin=0.0, vmax=1.0)
        figure.colorbar(weights, ax=row[3], shrink=0.8)
        row[0].set_title(
            f'{result.name}: {100 * result.translation_error_m:.1f} cm, '
            f'{result.rotation_error_deg:.2f} deg'
        )
        for axis, name in zip(row[1:], ('depth', 'world x y z as RGB', 'weights'), strict=True):
            axis.set_title(name)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    return figure


def _cumulative(axis: Axes, errors: FloatArray, name: str, above: int) -> None:
    found = np.sort(errors[np.isfinite(errors)])
    share = np.arange(1, len(found) + 1) / len(errors)
    shown = np.maximum(found, SMALLEST_SHOWN)
    axis.step(shown, share, where='post', label=name, zorder=2 + 0.1 * above)
