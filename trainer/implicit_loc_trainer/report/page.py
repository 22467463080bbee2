"""The report as one HTML page that needs nothing but itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from implicit_loc_trainer.evaluation import colours
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult, ShownFrame
from implicit_loc_trainer.evaluation.tables import cells, errors_text, title
from implicit_loc_trainer.report import charts
from implicit_loc_trainer.report.data_uris import jpeg_data, jpeg_uri, png_uri
from implicit_loc_trainer.report.measuring import Measured
from implicit_loc_trainer.report.run_log import Curve
from implicit_loc_trainer.report.scene_view import scene
from implicit_loc_trainer.report.verdict import judge

# Every id that the page can be entered at, and what its navigation calls it.
SECTIONS = {
    'figures': 'Figures',
    'map': 'Map',
    'errors': 'Errors',
    'trajectory': 'Trajectory',
    'frames': 'Best and worst',
    'training': 'Training',
    'configuration': 'Configuration',
    'all-frames': 'Frame by frame',
}
_SCRIPTS = ('orbit.js', 'drawing.js', 'viewer.js')
_PICTURE_WIDTH = 320
_JPEG_QUALITY = 82
_MOST_ROWS = 300


@dataclass(frozen=True)
class Picture:
    """One picture of a frame: a data URI, and the range that its colours stand for."""

    caption: str
    source: str
    cells: bool = True
    scale: str = ''
    low: str = ''
    high: str = ''


@dataclass(frozen=True)
class FrameView:
    """A frame as the page shows it."""

    name: str
    error: str
    pictures: list[Picture]


def render(
    title: str,
    origin: str,
    measured: Measured,
    curves: Mapping[str, Curve],
    configuration: Mapping[str, Mapping[str, Any]],
    remarks: Sequence[str] = (),
) -> str:
    """The page as text.

    Args:
        title: of the page.
        origin: what was measured, on what, when; one line.
        measured: what is shown.
        curves: of the training; may be empty.
        configuration: entries by section.
        remarks: what a reader should know of how it was measured.

    Raises:
        DataError: an image of a shown frame cannot be read.
    """
    assets = files(__package__) / 'assets'

    def asset(name: str) -> Markup:
        # The page's own code and style: nothing of the recording is in them.
        return Markup((assets / name).read_text(encoding='utf-8'))

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['code'] = _with_code
    viewed = scene(measured)
    held_out = measured.held_out
    return environment.from_string(str(asset('page.html.jinja'))).render(
        title=title,
        origin=origin,
        verdict=judge(measured, curves),
        remarks=remarks,
        sections=SECTIONS.items(),
        columns=_columns(measured),
        nearest=f'{100 * measured.nearest_m:.0f} cm and {measured.nearest_deg:.0f} deg',
        mapped_frames=len(measured.known),
        left_out=viewed['left_out'],
        error_chart=Markup(charts.error_chart(held_out)),
        timeline_chart=Markup(charts.timeline_chart(held_out.frames)),
        trajectory_chart=Markup(charts.trajectory_chart(held_out.frames)),
        frame_groups=_frame_groups(held_out),
        training_charts={n: Markup(svg) for n, svg in charts.training_charts(curves).items()},
        configuration=configuration,
        row_names=('frame', 'time (s)', *_titles(held_out), 'confidence', 'lost because'),
        rows=_rows(held_out),
        scene=viewed,
        style=asset('page.css'),
        scripts=[asset(name) for name in _SCRIPTS],
    )


def _titles(held_out: Evaluation) -> list[str]:
    return [title(name) for name in held_out.methods]


def _columns(measured: Measured) -> dict[str, dict[str, str]]:
    held_out = measured.held_out
    columns = {title(name): cells(frames) for name, frames in held_out.methods.items()}
    columns[f'training frames, {title(held_out.solver)}'] = cells(measured.known)
    return columns


def _frame_groups(held_out: Evaluation) -> dict[str, list[FrameView]]:
    shown = held_out.best + held_out.worst
    if not shown:
        return {}
    geometries = [frame.estimate.geometry for frame in shown]
    bounds = colours.world_bounds([geometry.world_points for geometry in geometries])
    depths = np.concatenate([geometry.depth.ravel() for geometry in geometries])
    low, high = np.nanpercentile(depths, (1.0, 99.0))
    depth_range = float(low), float(max(high, low + 1e-3))
    groups = {'Best': held_out.best, 'Worst localized': held_out.worst}
    return {
        name: [_frame_view(frame, bounds, depth_range) for frame in frames]
        for name, frames in groups.items()
    }


def _frame_view(
    frame: ShownFrame,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    depth_range: tuple[float, float],
) -> FrameView:
    geometry, result = frame.estimate.geometry, frame.result
    image = frame.sample.load_image()
    low, high = depth_range
    depth = colours.depth_colours(geometry.depth, low, high)
    world = colours.world_colours(geometry.world_points, bounds)
    # Their scale does not matter to the pose: what counts is which cells have the most.
    most = max(float(np.nanmax(geometry.weights)), 1e-6)
    weights = colours.weight_colours(geometry.weights / most)
    return FrameView(
        name=result.name,
        error=errors_text(result.translation_error_m, result.rotation_error_deg),
        pictures=[
            Picture(
                'image', jpeg_uri(jpeg_data(image, _PICTURE_WIDTH, _JPEG_QUALITY)), cells=False
            ),
            Picture('depth', png_uri(depth), True, 'viridis', f'{low:.1f}', f'{high:.1f} m'),
            Picture('world x y z as red green blue', png_uri(world)),
            Picture('weights', png_uri(weights), True, 'magma', '0', f'{most:.2g}'),
        ],
    )


def _rows(held_out: Evaluation) -> list[tuple[str, ...]]:
    order = sorted(
        range(len(held_out.frames)), key=lambda i: -held_out.frames[i].translation_error_m
    )
    rows: list[tuple[str, ...]] = []
    for index in order[:_MOST_ROWS]:
        frame = held_out.frames[index]
        confidence = '' if frame.confidence is None else f'{frame.confidence:.2f}'
        errors = (_error(frames[index]) for frames in held_out.methods.values())
        time = f'{frame.timestamp:.2f}'
        rows.append((frame.name, time, *errors, confidence, frame.lost_reason))
    return rows


def _error(frame: FrameResult) -> str:
    if frame.estimated_pose is None:
        return 'lost'
    return errors_text(frame.translation_error_m, frame.rotation_error_deg)


def _with_code(text: str) -> Markup:
    """Text in which `backticks` mark code, as HTML."""
    return Markup(re.sub(r'`([^`]*)`', r'<code>\1</code>', str(escape(text))))
