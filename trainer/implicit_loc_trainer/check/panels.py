"""The panels of the page."""

import math

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from implicit_loc_trainer.check.checking import Report
from implicit_loc_trainer.check.coverage import SECTORS
from implicit_loc_trainer.check.labels import LabelDiagnosis

FloatArray = NDArray[np.float64]

BLUE, RED, GREY, GREEN = '#1f77b4', '#c1121f', '0.55', '#2a7f3f'

# Hypotheses in the order of the bars, by the code of the only mistake that they suppose.
_BARS = {
    'world-to-camera': 'world-to-camera',
    'rotation-world-to-camera': 'rotation inverted',
    'translation-world-to-camera': 'translation inverted',
    'axes-opengl': 'OpenGL axes',
    'axes-body': 'body axes (FLU)',
    'axes-left-down-backward': 'x, z flipped',
    'axes-left-up-forward': 'x, y flipped',
    'quaternion-wxyz': 'quaternion w x y z',
    'quaternion-xyzw': 'quaternion x y z w',
}
_CAMERA_BARS = {
    'focal': 'focal length fitted',
    'principal-point': 'principal point fitted',
    'distortion': 'distortion fitted',
    'all': 'whole camera fitted',
}


def draw_trajectory(axes: Axes, report: Report) -> None:
    """Plan view, coloured by the epipolar error of the frames."""
    recording, labels = report.recording, report.labels
    positions = (labels.poses if labels else recording.world_from_camera)[:, :3, 3]
    across, up = _widest_axes(positions)
    axes.set_title('camera positions, colour: epipolar error (px)')
    axes.plot(positions[:, across], positions[:, up], '.', color='0.85', markersize=3, zorder=0)
    if report.consistency is not None and report.consistency.frame_errors:
        frames = list(report.consistency.frame_errors)
        errors = np.array(list(report.consistency.frame_errors.values()))
        shown = axes.scatter(
            positions[frames, across],
            positions[frames, up],
            c=errors,
            s=14,
            cmap='turbo',
            vmin=0.0,
            vmax=max(report.consistency.limit_px, 1e-3),
        )
        axes.figure.colorbar(shown, ax=axes)
        wrong = report.consistency.outliers + (report.leaps.outliers if report.leaps else [])
        if wrong and report.consistency.bad_share < 0.7:
            axes.plot(
                positions[wrong, across],
                positions[wrong, up],
                'x',
                color=RED,
                markersize=9,
                label='outliers',
            )
    test = recording.split > 0
    if test.any():
        axes.plot(
            positions[test, across],
            positions[test, up],
            '.',
            color='k',
            markersize=2,
            label=recording.split_names[-1],
        )
    for jump in (report.leaps.jumps if report.leaps else [])[:20]:
        ends = positions[[jump, jump + 1]]
        axes.plot(ends[:, across], ends[:, up], color=RED, linewidth=1.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    axes.set_aspect('equal', adjustable='datalim')
    axes.set_xlabel(f'{"xyz"[across]} (m)')
    axes.set_ylabel(f'{"xyz"[up]} (m)')
    axes.grid(alpha=0.3)


def draw_hypotheses(axes: Axes, report: Report) -> None:
    """The epipolar error under each hypothesis, as bars."""
    axes.set_title('median epipolar error under each hypothesis')
    labels = report.labels
    if labels is None:
        _nothing(axes, 'no pairs of images match')
        return
    bars = _bars(labels)
    rows = np.arange(len(bars))
    values = np.array([value for _, value in bars])
    least = float(values.min())
    colours = [BLUE, *(GREEN if v <= 1.02 * least else GREY for v in values[1:])]
    axes.barh(rows, values, color=colours)
    for row, value in enumerate(values.tolist()):
        axes.text(value * 1.06, row, f'{value:.2f}', va='center', fontsize=9)
    axes.set_yticks(rows, [name for name, _ in bars])
    axes.invert_yaxis()
    axes.set_xscale('log')
    axes.set_xlim(0.5 * min(least, labels.floor_px), 2.2 * float(values.max()))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.axvline(labels.floor_px, color='k', linestyle=':', label='images alone')
    axes.legend(loc='lower right')
    axes.set_xlabel('px at full size')


def _bars(labels: LabelDiagnosis) -> list[tuple[str, float]]:
    bars = [('as given', labels.given.error_px)]
    if labels.convention is not None and labels.convention.code not in _BARS:
        name = labels.convention.code
        bars.append((name if len(name) < 34 else f'{name[:31]}...', labels.convention.error_px))
    for code, name in _BARS.items():
        errors = [one.error_px for one in labels.hypotheses if one.code == code]
        if errors:
            bars.append((name, min(errors)))
    prefix = '+ ' if labels.convention is not None else ''
    fits = {fit.model: fit.error_px for fit in labels.fits}
    bars += [(prefix + name, fits[model]) for model, name in _CAMERA_BARS.items() if model in fits]
    if labels.offset is not None:
        bars.append((f'{prefix}time offset fitted', labels.offset.best_px))
    return [(name, max(value, 1e-3)) for name, value in bars]


def draw_offset(axes: Axes, report: Report) -> None:
    """The error over the time offset between images and poses."""
    axes.set_title('poses moved in time against the images')
    offset = report.labels.offset if report.labels else None
    if offset is None:
        _nothing(axes, 'not a sequence in time')
        return
    axes.plot(-offset.offsets_s, offset.errors_px, color=BLUE)
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    if report.labels is not None and report.labels.is_late:
        axes.axvline(-offset.best_s, color=RED, label=f'{-offset.best_s:+.3f} s fits')
        axes.legend()
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("seconds added to the poses' stamps")
    axes.set_ylabel('median epipolar error (px)')
    axes.grid(alpha=0.3)


def draw_depth(axes: Axes, report: Report) -> None:
    """Depths of matched points."""
    axes.set_title('triangulated depth of matched points')
    depth = report.depth
    if depth is None or not len(depth.triangulated):
        _nothing(axes, 'nothing could be triangulated')
        return
    low, high = np.percentile(depth.triangulated, (0.2, 99.8))
    spacing = np.geomspace if high > 20.0 * low else np.linspace
    bins = spacing(max(0.7 * low, 1e-6), max(1.5 * high, 1e-5), 60)
    axes.hist(depth.triangulated, bins=bins.tolist(), color=BLUE)
    for value, name in ((depth.near, 'near'), (depth.far, 'far')):
        if math.isfinite(value):
            axes.axvline(value, color=RED, linestyle='--')
            axes.text(
                value, 1.01, f'{name} {value:g}', ha='center', transform=axes.get_xaxis_transform()
            )
    axes.set_title('triangulated depth of matched points', pad=18)
    if high > 20.0 * low:
        axes.set_xscale('log')
        axes.xaxis.set_major_formatter('{x:g}')
    axes.set_xlabel('metres along the optical axis')
    axes.set_ylabel('points')


def draw_sharpness(axes: Axes, report: Report) -> None:
    """Sharpness over the recording."""
    axes.set_title('sharpness relative to the median')
    blur = report.blur
    if not blur.frames:
        _nothing(axes, 'no image could be read')
        return
    axes.plot(blur.frames, blur.sharpness, color=BLUE, linewidth=0.8)
    blurred = np.isin(blur.frames, blur.blurred)
    if blurred.any():
        frames = np.array(blur.frames)[blurred]
        axes.plot(frames, blur.sharpness[blurred], 'x', color=RED, label='blurred')
        axes.legend()
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel('frame')
    axes.grid(alpha=0.3)


def draw_speed(axes: Axes, report: Report) -> None:
    """Speed and rate of turn by the poses as given."""
    steps = report.steps
    axes.set_title('speed by the poses as given')
    if not len(steps.first):
        _nothing(axes, 'no frames follow each other')
        return
    moved = np.maximum(steps.distance / steps.seconds, 1e-4)
    turned = np.maximum(np.degrees(steps.angle) / steps.seconds, 1e-2)
    axes.plot(steps.first, moved, '.', markersize=2, color=BLUE, label='m/s')
    axes.plot(steps.first, turned, '.', markersize=2, color='#ff7f0e', label='deg/s')
    leaps = steps.leap > 1.0
    if leaps.any():
        axes.plot(steps.first[leaps], moved[leaps], 'x', color=RED, label='leap')
    axes.set_yscale('log')
    axes.set_xlabel('frame')
    axes.legend(loc='lower right')
    axes.grid(alpha=0.3)


def draw_directions(axes: Axes, report: Report) -> None:
    """Test distances where there are test frames, else directions of sight."""
    coverage = report.coverage
    if coverage is None:
        _nothing(axes, 'too few frames')
    elif len(coverage.test_distances):
        axes.set_title('test frames: nearest training view')
        axes.plot(coverage.test_distances, np.degrees(coverage.test_angles), '.', color=BLUE)
        axes.set_xlabel('distance (m)')
        axes.set_ylabel('angle (deg)')
        axes.set_xlim(left=0.0)
        axes.set_ylim(bottom=0.0)
        axes.grid(alpha=0.3)
    else:
        axes.set_title('directions of sight about the vertical')
        middles = (np.arange(SECTORS) + 0.5) * 360.0 / SECTORS - 180.0
        axes.bar(middles, coverage.sectors, width=0.9 * 360.0 / SECTORS, color=BLUE)
        axes.set_xticks(np.arange(-180, 181, 60))
        axes.set_xlabel('degrees')
        axes.set_ylabel('frames')


def _nothing(axes: Axes, reason: str) -> None:
    axes.text(0.5, 0.5, reason, ha='center', va='center', transform=axes.transAxes, color='0.4')
    axes.set_xticks([])
    axes.set_yticks([])


def _widest_axes(positions: FloatArray) -> tuple[int, int]:
    """The two axes along which the camera moved most, in alphabetical order."""
    across, up = sorted(np.argsort(-np.ptp(positions, axis=0), kind='stable')[:2].tolist())
    return across, up
