"""Findings about units, depth range and coverage."""

import math

import numpy as np

from implicit_loc_trainer.check.coverage import SECTORS, Coverage
from implicit_loc_trainer.check.depth import DepthFacts
from implicit_loc_trainer.check.findings import Finding, Grade
from implicit_loc_trainer.check.labels import LabelDiagnosis
from implicit_loc_trainer.check.motion import Steps
from implicit_loc_trainer.check.recording import Recording

# Depth images this far from triangulated depths have another unit or scale.
_SCALE_OFF, _SCALE_WRONG = 0.05, 0.2
_UNITS = {1000.0: 'millimetres', 100.0: 'centimetres', 0.001: 'kilometres', 39.37: 'inches'}
_UNIT_TOLERANCE = 0.25

# Without depth images: nothing but a flight sees things this far away at least, metres; and
# nothing is this near at most.
_FAR_MEDIAN, _FAR_NEAREST, _NEAR_FARTHEST = 400.0, 60.0, 0.15

# With fewer pairs that fit, or more that do not, depths are not trusted.
_LEAST_TRUSTED, _MOST_CONTRADICT = 5, 0.7

# Metres a second; cars drive slower.
_FAST = 60.0

# Of one room, less than this trains no map worth its name.
_FEW_FRAMES = 120


def findings(
    recording: Recording,
    depth: DepthFacts,
    coverage: Coverage,
    steps: Steps,
    labels: LabelDiagnosis,
    contradicting: float,
) -> list[Finding]:
    """All findings about the scene as a whole.

    Args:
        recording: the frames.
        depth: of matched points.
        coverage: of the poses.
        steps: of the poses as given.
        labels: as they fit best.
        contradicting: share of the pairs that contradict them.
    """
    # Depths that were triangulated from poses that are wrong mean nothing.
    trusted = len(labels.errors) * (1.0 - contradicting) >= _LEAST_TRUSTED and (
        contradicting < _MOST_CONTRADICT
    )
    found = [
        _unit(depth, steps) if trusted else None,
        _unreadable_depth(recording),
        _parallax(depth),
        _range(depth) if trusted else None,
        _covered(recording, coverage),
        _few_frames(recording),
        _test_frames(coverage, depth),
    ]
    return [finding for finding in found if finding is not None]


def _unit(depth: DepthFacts, steps: Steps) -> Finding | None:
    low, middle, high = depth.percentiles
    speed = steps.speed
    values = {
        'measured_over_triangulated': _or_none(depth.measured_ratio),
        'median_depth': _or_none(middle),
        'speed': _or_none(speed),
    }
    if math.isfinite(depth.measured_ratio):
        return _compared(depth, values)
    if not math.isfinite(middle):
        return None
    if middle > _FAR_MEDIAN and low > _FAR_NEAREST:
        return Finding(
            'scale',
            Grade.ERROR,
            f'the poses look like millimetres: nothing is nearer than {low:.0f} "m", the median '
            f'depth is {middle:.0f} "m", the speed {speed:.1f} "m/s"',
            'divide all positions by 1000 (or by 100, if they are centimetres)',
            values,
        )
    if high < _NEAR_FARTHEST:
        return Finding(
            'scale',
            Grade.ERROR,
            f'the poses are not in metres: nothing is farther than {high:.3f} "m", the median '
            f'depth is {middle:.4f} "m"',
            'multiply all positions by what makes them metres',
            values,
        )
    message = f'the scale cannot be checked without depth images; median depth {middle:.2f} m'
    if math.isfinite(speed):
        message += f', speed {speed:.2f} m/s'
    if speed > _FAST:
        advice = 'check that the positions are in metres and the stamps in seconds'
        return Finding('scale', Grade.WARN, message, advice, values)
    return Finding('scale', Grade.OK, message, '', values)


def _compared(depth: DepthFacts, values: dict[str, float | None]) -> Finding:
    """Triangulated depths are in the unit of the poses, depth images in metres."""
    factor = 1.0 / depth.measured_ratio
    off = abs(factor - 1.0)
    figures = (
        f'triangulated depth is {factor:.4g} times that of the depth images '
        f'({depth.compared} points)'
    )
    if off <= _SCALE_OFF:
        return Finding('scale', Grade.OK, f'the poses are in metres: {figures}', '', values)
    for unit, name in _UNITS.items():
        if abs(math.log(factor / unit)) < _UNIT_TOLERANCE:
            return Finding(
                'scale',
                Grade.ERROR,
                f'the poses look like {name}, or the depth images are in another unit: {figures}',
                f'multiply all positions by {1 / unit:.4g}',
                values,
            )
    return Finding(
        'scale',
        Grade.ERROR if off > _SCALE_WRONG else Grade.WARN,
        f'the scale of poses and depth images differs: {figures}',
        f'multiply all positions by {1 / factor:.4g}, or correct the depth images',
        values,
    )


def _unreadable_depth(recording: Recording) -> Finding | None:
    if not recording.depth_errors:
        return None
    names = recording.names(sorted(recording.depth_errors))
    first = next(iter(recording.depth_errors.values()))
    message = f'{len(names)} depth images cannot be read; the first error: {first}'
    return Finding('unreadable-depth', Grade.WARN, message, 'repair these files')


def _parallax(depth: DepthFacts) -> Finding | None:
    if math.isfinite(depth.near):
        return None
    return Finding(
        'no-parallax',
        Grade.WARN,
        'the camera hardly moves between images that show the same place: depths and the side on '
        'which the scene lies cannot be checked',
        'a camera that only turns shows no geometry: walk while you record',
    )


def _range(depth: DepthFacts) -> Finding | None:
    if not math.isfinite(depth.near):
        return None
    low, middle, high = depth.percentiles
    return Finding(
        'depth-range',
        Grade.OK,
        f'matched points are {low:.3g} m (1st percentile) to {high:.3g} m (99th) away, median '
        f'{middle:.3g} m',
        f'in the recipe: network.near {depth.near:g}, network.far {depth.far:g}',
        {'p1': low, 'p50': middle, 'p99': high, 'near': depth.near, 'far': depth.far},
    )


def _covered(recording: Recording, coverage: Coverage) -> Finding:
    extent = ' x '.join(f'{side:.2f}' for side in coverage.extent)
    seen = int((coverage.sectors > 0.005 * coverage.sectors.sum()).sum())
    message = (
        f'{len(recording.samples)} frames over {extent} m, {coverage.path:.1f} m of way, looking '
        f'into {seen} of {SECTORS} directions'
    )
    if math.isfinite(coverage.spacing):
        message += f'; the nearest frame with a similar view is {coverage.spacing:.3f} m away'
    values = {
        'extent': [float(side) for side in coverage.extent],
        'path': coverage.path,
        'sectors': coverage.sectors.tolist(),
        'spacing': _or_none(coverage.spacing),
    }
    # As given: a transform to the camera that was fitted would spread them.
    if not np.ptp(recording.world_from_camera[:, :3, 3], axis=0).any():
        return Finding(
            'coverage',
            Grade.ERROR,
            'all poses have the same position',
            'a camera that only turns shows no geometry; or the positions were not recorded',
            values,
        )
    return Finding('coverage', Grade.OK, message, '', values)


def _few_frames(recording: Recording) -> Finding | None:
    frames = int((recording.split == 0).sum())
    if frames >= _FEW_FRAMES or recording.split_names[0] == 'test':
        return None
    return Finding(
        'few-frames',
        Grade.WARN,
        f'only {frames} frames are left to train on: maps of fewer than {_FEW_FRAMES} are coarse, '
        'and know few views',
        'record more of the place, from more sides; bags are thinned to keyframes: in '
        'recording.yaml, smaller keyframe_distance_m and keyframe_angle_deg keep more (0 and 0: '
        'all)',
        {'frames': frames},
    )


def _test_frames(coverage: Coverage, depth: DepthFacts) -> Finding | None:
    if not len(coverage.test_distances):
        return None
    distance = float(np.median(coverage.test_distances))
    angle = math.degrees(float(np.median(coverage.test_angles)))
    far = float(np.percentile(coverage.test_distances, 95.0))
    wide = math.degrees(float(np.percentile(coverage.test_angles, 95.0)))
    message = (
        f'a test frame is {distance:.2f} m and {angle:.1f} deg from the nearest training view '
        f'(median; 95th percentile {far:.2f} m, {wide:.1f} deg)'
    )
    values = {'median_m': distance, 'median_deg': angle, 'p95_m': far, 'p95_deg': wide}
    usual = depth.percentiles[1]
    relative = distance / usual if math.isfinite(usual) and usual > 0 else 0.0
    if relative > 0.5 or angle > 40.0:
        advice = 'record more training frames near the test frames, or expect large errors there'
        return Finding('test-coverage', Grade.WARN, message, advice, values)
    if math.isfinite(usual) and relative < 0.01 and angle < 1.0:
        advice = 'these test frames repeat training frames: errors on them say nothing'
        return Finding('test-coverage', Grade.WARN, message, advice, values)
    return Finding('test-coverage', Grade.OK, message, '', values)


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
