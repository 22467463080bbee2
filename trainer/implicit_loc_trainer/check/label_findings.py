"""Findings about poses, camera and clock."""

import numpy as np

from implicit_loc_trainer.check import camera_findings
from implicit_loc_trainer.check.consistency import Consistency
from implicit_loc_trainer.check.findings import Finding, Grade, names_of
from implicit_loc_trainer.check.labels import LabelDiagnosis
from implicit_loc_trainer.check.leaps import Leaps, beside_jumps
from implicit_loc_trainer.check.motion import Steps
from implicit_loc_trainer.check.pairs import Pairs
from implicit_loc_trainer.check.recording import Recording

# Median epipolar errors in pixels at a width of 640: good labels, usable ones.
GOOD_PX, USABLE_PX = 1.2, 2.5

# Of all pairs: beyond, no remedy for single frames helps.
_MOST_CONTRADICT = 0.7

# Images of frames that follow each other correlate at least so well.
_CONTINUOUS = 0.6


def too_few(count: int, least: int) -> Finding:
    """The recording is too short to be checked."""
    return Finding(
        'too-few-frames',
        Grade.ERROR,
        f'the recording has {count} frames, at least {least} are needed to check it',
        'record more, or check another split',
    )


def no_pairs(recording: Recording, pairs: Pairs) -> Finding:
    """The images do not show the same things."""
    counts = [len(features.pixels) for features in recording.features.values()]
    usual = int(np.median(counts)) if counts else 0
    if not counts:
        return Finding('no-images', Grade.ERROR, 'no image could be read', 'see the errors above')
    if usual < 60:
        return Finding(
            'no-texture',
            Grade.ERROR,
            f'the images show too little to match: {usual} features in the median image',
            'light the place, focus the lens, or check that the images are what they should be; '
            'poses and camera could not be checked',
            {'features': usual},
        )
    return Finding(
        'no-overlap',
        Grade.ERROR,
        f'only {len(pairs.matches)} of {pairs.proposed} pairs of images show the same place '
        f'({usual} features in the median image)',
        'record with more overlap, at least half of the image from frame to frame; poses and '
        'camera could not be checked',
        {'confirmed': len(pairs.matches), 'proposed': pairs.proposed},
    )


def findings(
    recording: Recording,
    pairs: Pairs,
    labels: LabelDiagnosis,
    consistency: Consistency,
    leaps: Leaps,
    steps: Steps,
) -> list[Finding]:
    """All findings about labels; one of them says whether they fit."""
    found = [
        _convention(labels),
        *camera_findings.findings(recording, labels),
        _clock(labels),
        _worlds(recording, consistency, leaps),
        _outliers(recording, consistency, leaps),
        _jumps(recording, consistency, leaps),
    ]
    present = [finding for finding in found if finding is not None]
    codes = {finding.code for finding in present}
    single = bool(codes & {'mixed-worlds', 'outlier-poses', 'pose-jump'})
    present.append(_fit(recording, pairs, labels, consistency, steps, single))
    return present


def _px(value: float) -> str:
    return f'{value:.2f} px' if value < 9.95 else f'{value:.0f} px'


def _convention(labels: LabelDiagnosis) -> Finding | None:
    best = labels.convention
    if best is None:
        return None
    values = {
        'code': best.code,
        'error_px': best.error_px,
        'given_error_px': labels.given.error_px,
    }
    if best.error_px == labels.given.error_px:
        evidence = (
            f'the median error is {_px(best.error_px)} either way, but as given '
            f'{100 * labels.given_front:.0f} % of the matched points lie in front of the '
            f'cameras, so read {100 * best.front_share:.0f} %'
        )
    else:
        evidence = (
            f'median error {_px(best.error_px)} read so, {_px(labels.given.error_px)} as given'
        )
    message = f'these poses look {best.words}: {evidence}'
    return Finding(best.code, Grade.ERROR, message, best.advice, values)


def _clock(labels: LabelDiagnosis) -> Finding | None:
    offset = labels.offset
    if offset is None or not labels.is_late:
        return None
    frames = abs(offset.best_s) / offset.interval_s
    ahead = offset.best_s < 0
    grade = Grade.ERROR if offset.given_px > 1.5 * offset.best_px else Grade.WARN
    return Finding(
        'time-offset',
        grade,
        f'the poses run {abs(offset.best_s):.3f} s ({frames:.1f} frames) '
        f'{"ahead of" if ahead else "behind"} the images: median error {_px(offset.best_px)} '
        f'with that offset, {_px(offset.given_px)} without',
        f'{"add" if ahead else "subtract"} {abs(offset.best_s):.3f} s '
        f'{"to" if ahead else "from"} the stamps of the poses',
        {'offset_s': -offset.best_s, 'frames': -offset.best_s / offset.interval_s},
    )


def _worlds(recording: Recording, consistency: Consistency, leaps: Leaps) -> Finding | None:
    if not consistency.worlds:
        return None
    larger, smaller = consistency.worlds
    runs = _runs(larger, smaller)
    splits = {int(recording.split[frame]) for frame in smaller}
    larger_splits = {int(recording.split[frame]) for frame in larger}
    if len(splits) == 1 and len(larger_splits) == 1 and splits != larger_splits:
        where = 'the splits train and test lie in different worlds'
    elif runs <= 4:
        names = recording.names([smaller[0], smaller[-1]])
        where = f'the frames {names[0]} to {names[1]} lie in another world than the others'
    else:
        where = (
            f'about {100 * len(smaller) / (len(larger) + len(smaller)):.0f} % of the frames, all '
            f'over the recording, lie in another world than the others, for instance '
            f'{names_of(recording.names(smaller), 5)}'
        )
    return Finding(
        'mixed-worlds',
        Grade.ERROR,
        f'{where}: each of the two groups agrees with the images, pairs across do not',
        'poses of two maps or two tracking sessions were mixed: bring them into one world, or '
        'train on one of them',
        {'smaller': recording.names(smaller), 'larger': recording.names(larger)},
    )


def _runs(larger: list[int], smaller: list[int]) -> int:
    """How often the groups take turns in the order of the recording."""
    order = sorted([(frame, 0) for frame in larger] + [(frame, 1) for frame in smaller])
    sides = np.array([side for _, side in order])
    return int((np.diff(sides) != 0).sum()) + 1


def _outliers(recording: Recording, consistency: Consistency, leaps: Leaps) -> Finding | None:
    contradict = consistency.bad_share > _MOST_CONTRADICT
    matched = [] if contradict else consistency.outliers
    frames = sorted((set(matched) | set(leaps.outliers)) - beside_jumps(leaps))
    if not frames or contradict:
        return None
    names = recording.names(frames)
    many = len(frames) > 0.01 * len(recording.samples)
    return Finding(
        'outlier-poses',
        Grade.ERROR if many else Grade.WARN,
        f'{len(names)} frames contradict all their neighbours: {names_of(names)}',
        'correct their poses or leave them out',
        {'frames': names},
    )


def _jumps(recording: Recording, consistency: Consistency, leaps: Leaps) -> Finding | None:
    if not leaps.jumps or consistency.bad_share > _MOST_CONTRADICT:
        return None
    runs = _runs(*consistency.worlds) if consistency.worlds else 0
    if runs > 2 * len(leaps.jumps) + 2:
        return None  # Frames that take turns between two worlds leap all the time.
    poses = recording.world_from_camera
    parts = []
    for frame in leaps.jumps[:5]:
        step = float(np.linalg.norm(poses[frame + 1, :3, 3] - poses[frame, :3, 3]))
        names = recording.names([frame, frame + 1])
        parts.append(f'by {step:.2f} m between {names[0]} and {names[1]}')
    more = f' and {len(leaps.jumps) - 5} more' if len(leaps.jumps) > 5 else ''
    return Finding(
        'pose-jump',
        Grade.ERROR,
        f'the poses jump where the images go on smoothly: {", ".join(parts)}{more}; what follows '
        'a jump lies in another world',
        'the tracker lost itself or closed a loop there: use poses after global optimisation, or '
        'train on one side of the jump',
        {'after': recording.names(leaps.jumps)},
    )


def _fit(
    recording: Recording,
    pairs: Pairs,
    labels: LabelDiagnosis,
    consistency: Consistency,
    steps: Steps,
    some_contradict: bool,
) -> Finding:
    """Whether the labels agree with the images, once everything found is repaired."""
    count = len(pairs.matches)
    values = {
        'given_error_px': labels.given_px,
        'error_px': labels.best_px,
        'agreeing_error_px': consistency.agreeing_px,
        'floor_px': labels.floor_px,
        'contradicting_share': consistency.bad_share,
    }
    figures = (
        f'median epipolar error {_px(labels.best_px)} over {count} pairs of images '
        f'(images alone: {_px(labels.floor_px)})'
    )
    if consistency.bad_share > _MOST_CONTRADICT:
        return _unexplained(recording, figures, steps, values)
    repaired = (
        labels.convention or labels.camera or labels.mount or labels.rectified or labels.is_late
    )
    prefix = 'with that repaired ' if repaired else 'apart from that ' if some_contradict else ''
    if consistency.bad_share > 0.05:
        figures += f'; {_px(consistency.agreeing_px)} over those that do not contradict the poses'
    error = consistency.agreeing_px / labels.unit_px
    if error <= GOOD_PX:
        code = 'labels-after-repair' if repaired else 'labels-fit'
        return Finding(code, Grade.OK, f'{prefix}the labels fit: {figures}', '', values)
    return Finding(
        'labels-loose',
        Grade.WARN if error <= USABLE_PX else Grade.ERROR,
        f'{prefix}the labels fit only loosely: {figures}; no other convention, camera or clock '
        'fits clearly better',
        'poses that drift, a rolling shutter or a rough calibration look so: poses from structure '
        'from motion on the same images are usually better',
        values,
    )


def _unexplained(
    recording: Recording, figures: str, steps: Steps, values: dict[str, float]
) -> Finding:
    facts = recording.facts
    alike = [
        float(facts[k].thumbnail @ facts[k + 1].thumbnail)
        for k in steps.first.tolist()
        if k in facts and k + 1 in facts
    ]
    positions = recording.world_from_camera[:, :3, 3]
    order = (np.arange(len(positions)) * 7919 + 13) % len(positions)
    apart = float(np.median(np.linalg.norm(positions - positions[order], axis=1)))
    is_smooth = bool(alike) and float(np.median(alike)) > _CONTINUOUS
    step = float(np.median(steps.distance)) if len(steps.distance) else 0.0
    if is_smooth and step > 0.3 * apart > 0:
        return Finding(
            'shuffled-poses',
            Grade.ERROR,
            f'the poses are in disorder: from frame to frame they leap {step:.2f} m in the '
            f'median, while the images go on smoothly; {figures}',
            'frames and poses are not assigned to each other: check by what they are matched '
            '(sorting of file names, line numbers, stamps)',
            values,
        )
    return Finding(
        'labels-contradict-images',
        Grade.ERROR,
        f'the images agree with each other but not with the poses: {figures}, and no convention, '
        'camera or clock explains it',
        'these poses belong to other images, or to something that moves apart from the camera',
        values,
    )
