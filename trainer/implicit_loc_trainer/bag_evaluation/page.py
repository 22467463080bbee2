"""The evaluation of a bag as one HTML page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from implicit_loc_trainer import report
from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_evaluation.figures import BagFigures
from implicit_loc_trainer.bag_evaluation.frame_pictures import FrameViews
from implicit_loc_trainer.bag_evaluation.page_data import page_data
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult
from implicit_loc_trainer.evaluation.tables import errors_text, percent
from implicit_loc_trainer.report import charts

_SCRIPTS = ('plot.js', 'frames.js')
_SHOWN = 3
# Frames nearer than this share of the recording look the same.
_APART = 0.02


@dataclass(frozen=True)
class Tile:
    """One figure at the top of the page."""

    name: str
    value: str
    note: str = ''
    is_bad: bool = False


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        title: of the page.
        origin: what was measured, on what, when; one line.
        evaluation: all frames.
        figures: of them.
        views: pictures of some of them.
        min_confidence: that of an accepted pose at least.
        requirements: whether each was met, and its verdict.
        alignment: what was done to the estimates before they were compared, a sentence.
        settings: by name.
        remarks: what a reader should know of how it was measured.
    """

    title: str
    origin: str
    evaluation: Evaluation
    figures: BagFigures
    views: FrameViews
    min_confidence: float
    requirements: Sequence[tuple[bool, str]]
    alignment: str
    settings: Mapping[str, str]
    remarks: Sequence[str]


def render(page: Page) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    frames = page.evaluation.frames
    low, high = page.views.depth_range
    groups = _groups(frames, page.views)
    worst = groups.get('Worst', [])
    return environment.from_string(str(_asset('page.html.jinja'))).render(
        title=page.title,
        origin=page.origin,
        styles=[_asset('page.css', report.__name__), _asset('page.css')],
        scripts=[_asset(name) for name in _SCRIPTS],
        requirements=page.requirements,
        tiles=_tiles(page.figures),
        remarks=page.remarks,
        depth_range=f'{low:.1f} (dark) to {high:.1f} m',
        groups=groups,
        error_rows=_error_rows(page.figures),
        alignment=page.alignment,
        rejected=_rejected(frames, page.min_confidence),
        charts={
            'Share of frames within an error': Markup(charts.error_chart(page.evaluation)),
            **{
                name: Markup(svg)
                for name, svg in charts.trust_charts(frames, page.min_confidence).items()
            },
        },
        settings=page.settings,
        data=page_data(
            frames, page.views, page.min_confidence, worst[0]['name'] if worst else frames[0].name
        ),
    )


def _asset(name: str, package: str = __package__) -> Markup:
    # The page's own code and style: nothing of the recording is in them.
    return Markup((files(package) / 'assets' / name).read_text(encoding='utf-8'))


def _tiles(figures: BagFigures) -> list[Tile]:
    errors, service = figures.errors, figures.service
    accepted = figures.accepted
    is_localized = errors.lost < errors.frames
    return [
        Tile('frames', str(errors.frames), f'{errors.lost} without a pose'),
        Tile('median error', errors_text(errors.median_translation_m, errors.median_rotation_deg)),
        Tile('within 25 cm, 10 deg', percent(errors.recall_25cm_10deg)),
        Tile('availability', percent(service.availability), 'accepted'),
        Tile('longest outage', f'{service.longest_outage_s:.2f} s'),
        Tile(
            'false accepts',
            str(service.false_accepts),
            'beyond 25 cm or 10 deg',
            is_bad=service.false_accepts > 0,
        ),
        Tile(
            'largest accepted error',
            f'{100 * accepted.accepted_max_translation_m:.1f} cm' if service.availability else '-',
        ),
        Tile(
            'latency',
            f'{service.latency_p50_ms:.0f} ms' if is_localized else '-',
            f'95 %: {service.latency_p95_ms:.0f} ms, 99 %: {service.latency_p99_ms:.0f} ms'
            if is_localized
            else '',
        ),
    ]


def _error_rows(figures: BagFigures) -> list[tuple[str, str, str]]:
    errors, service, accepted = figures.errors, figures.service, figures.accepted

    def of_accepted(name: str) -> str:
        metres, degrees = (
            getattr(accepted, f'accepted_{name}_{unit}')
            for unit in ('translation_m', 'rotation_deg')
        )
        return errors_text(metres, degrees) if service.availability else '-'

    share = 1.0 - service.false_accept_rate
    return [
        (
            'median',
            errors_text(errors.median_translation_m, errors.median_rotation_deg),
            of_accepted('median'),
        ),
        (
            'mean',
            errors_text(errors.mean_translation_m, errors.mean_rotation_deg),
            of_accepted('mean'),
        ),
        (
            'RMSE',
            errors_text(service.rmse_translation_m, service.rmse_rotation_deg),
            of_accepted('rmse'),
        ),
        (
            '95th percentile',
            errors_text(errors.p95_translation_m, errors.p95_rotation_deg),
            of_accepted('p95'),
        ),
        ('largest', '', of_accepted('max')),
        ('within 5 cm, 5 deg', percent(errors.recall_5cm_5deg), ''),
        ('within 10 cm, 5 deg', percent(errors.recall_10cm_5deg), ''),
        ('within 25 cm, 10 deg', percent(errors.recall_25cm_10deg), percent(share)),
        ('gross failures (over 1 m or 20 deg, or no pose)', percent(errors.gross_failures), ''),
        (
            'mean NEES (6 is ideal)',
            '',
            f'{service.nees_mean:.2f}' if service.availability else '-',
        ),
        ('position within its 90 % ellipsoid', '', percent(service.coverage90_translation)),
        ('rotation within its 90 % ellipsoid', '', percent(service.coverage90_rotation)),
    ]


def _groups(frames: Sequence[FrameResult], views: FrameViews) -> dict[str, list[dict[str, Any]]]:
    """Best and worst of the localized frames whose prediction the page shows."""
    shown = [
        frame
        for frame in frames
        if frame.estimated_pose is not None and frame.name in views.by_name
    ]
    if not shown:
        return {}
    ordered = sorted(shown, key=lambda frame: frame.translation_error_m)
    gap = _APART * (frames[-1].timestamp - frames[0].timestamp)
    return {
        'Best': [_entry(frame, views) for frame in _few(ordered, gap)],
        'Worst': [_entry(frame, views) for frame in _few(ordered[::-1], gap)],
    }


def _few(frames: Sequence[FrameResult], gap_s: float) -> list[FrameResult]:
    chosen: list[FrameResult] = []
    for frame in frames:
        if all(abs(frame.timestamp - other.timestamp) >= gap_s for other in chosen):
            chosen.append(frame)
        if len(chosen) == _SHOWN:
            break
    return chosen


def _entry(frame: FrameResult, views: FrameViews) -> dict[str, Any]:
    view = views.by_name[frame.name]
    pictures = {
        'image': view.image,
        'depth': view.depth,
        'world x y z as red green blue': view.world,
        'weights': view.weights,
    }
    return {
        'name': frame.name,
        'error': errors_text(frame.translation_error_m, frame.rotation_error_deg),
        'pictures': {caption: source for caption, source in pictures.items() if source},
    }


def _rejected(frames: Sequence[FrameResult], min_confidence: float) -> list[tuple[str, int, str]]:
    """Reason, how many frames, and what was said of the first of them."""
    found: dict[str, list[FrameResult]] = {}
    for frame in frames:
        reason = rejection(frame, min_confidence)
        if reason:
            found.setdefault(reason, []).append(frame)
    return [
        (reason, len(part), part[0].lost_reason or f'below {min_confidence:g}')
        for reason, part in sorted(found.items(), key=lambda item: -len(item[1]))
    ]
