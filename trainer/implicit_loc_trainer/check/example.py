"""A pair of images with matched points and the epipolar lines that the labels predict."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.checking import Report
from implicit_loc_trainer.check.epipolar import Calibration
from implicit_loc_trainer.check.labels import LabelDiagnosis

FloatArray = NDArray[np.float64]

_POINTS = 9
_GAP = 10


def draw_example(axes: Axes, report: Report) -> None:
    """Two images side by side; lines as given are drawn, repaired ones dashed."""
    axes.set_xticks([])
    axes.set_yticks([])
    if report.labels is None or report.pairs is None:
        axes.set_title('no pair of images matches')
        return
    labels = report.labels
    pair = _typical(report, labels)
    match = report.pairs.matches[pair]
    one, two = report.recording.samples[match.first], report.recording.samples[match.second]
    left, right = one.load_image(), two.load_image()
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, left.shape[1] + _GAP + right.shape[1], 3), 255, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    start = left.shape[1] + _GAP
    canvas[: right.shape[0], start:] = right
    axes.imshow(canvas)
    poses = report.recording.world_from_camera
    points = report.recording.correspondences([match])
    given = _lines(points, poses, two.camera, Calibration())
    repaired = None
    if labels.best_px < 0.8 * labels.given_px:
        seen = epipolar.recalibrated(points, labels.calibration)
        repaired = _lines(seen, labels.poses, two.camera, labels.calibration)
    for rank, index in enumerate(_apart(match.first_pixels)):
        colour = f'C{rank}'
        axes.plot(*match.first_pixels[index], 'o', color=colour, markersize=6, mec='w')
        x, y = match.second_pixels[index]
        axes.plot(x + start, y, 'o', color=colour, markersize=6, mec='w')
        _plot_line(axes, given[index], two.camera, start, colour, '-')
        if repaired is not None:
            _plot_line(axes, repaired[index], two.camera, start, colour, '--')
    axes.set_xlim(-0.5, canvas.shape[1] - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    also = ', as repaired (dashed)' if repaired is not None else ''
    axes.set_title(
        f'{one.name} and {two.name}: points, and their epipolar lines as given (solid){also}',
        parse_math=False,
    )


def _typical(report: Report, labels: LabelDiagnosis) -> int:
    """A pair whose error as given is about the median, with many matches and much motion."""
    if report.pairs is None:
        return 0
    matches = report.pairs.matches
    error = np.abs(np.log(np.maximum(labels.given_errors, 1e-3) / max(labels.given_px, 1e-3)))
    motion = np.array([match.displacement for match in matches])
    inliers = np.array([match.inliers for match in matches])
    value = np.minimum(motion, 0.15) / 0.15 + np.minimum(inliers, 200) / 200 - error
    return int(value.argmax())


def _lines(
    points: epipolar.Correspondences,
    world_from_camera: FloatArray,
    camera: Camera,
    calibration: Calibration,
) -> list[FloatArray]:
    """Pixels of the second image along each line, one (K, 2) for each correspondence."""
    relative = epipolar.relative_poses(world_from_camera, points)
    lines = epipolar.second_lines(relative, points)[0]
    width = (np.array([camera.width, camera.height]) / (camera.fx, camera.fy)).max()
    along = np.linspace(-3.0 * width, 3.0 * width, 1200)
    scale, shift = np.array(calibration.focal_scale), np.array(calibration.shift_px)
    found = []
    for a, b, c in lines:
        square = max(a * a + b * b, 1e-18)
        foot, direction = np.array([-a * c, -b * c]) / square, np.array([-b, a]) / square**0.5
        seen = (foot + along[:, None] * direction) * scale + shift / (camera.fx, camera.fy)
        rays = np.concatenate([seen, np.ones((len(seen), 1))], axis=1)
        found.append(camera.project(rays))
    return found


def _plot_line(
    axes: Axes, pixels: FloatArray, camera: Camera, start: int, colour: str, style: str
) -> None:
    inside = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    if inside.sum() > 1:
        seen = pixels[inside]
        axes.plot(seen[:, 0] + start, seen[:, 1], style, color=colour, linewidth=1.4)


def _apart(pixels: FloatArray) -> list[int]:
    """A few points far from each other: each the farthest from those before it."""
    chosen = [0]
    while len(chosen) < min(_POINTS, len(pixels)):
        away = np.linalg.norm(pixels[:, None] - pixels[chosen], axis=-1).min(axis=1)
        if away.max() <= 0:
            break
        chosen.append(int(away.argmax()))
    return chosen
