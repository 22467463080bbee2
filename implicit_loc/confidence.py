"""How likely a pose is right, from what can be known of it without the truth.

The confidence is a logistic model of the evidence: the sum of a bias and of slopes times signals,
each of which grows as a pose becomes doubtful. The trainer finds bias and slopes on frames that
were held out from the training, as they are and spoilt in many ways.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# A pose is called right within this of the truth.
RIGHT_M, RIGHT_RAD = 0.25, math.radians(10.0)

# From here on a pose is worth being used, unless somebody chooses otherwise: it is more likely
# right than wrong.
LEAST_CONFIDENCE = 0.5

# A world point agrees with its cell where it is seen within 10 px of a 640 px image of 525 px
# focal length.
INLIER_ANGLE_RAD = 0.02

# World and camera point agree where they are this close, relative to the depth.
INLIER_RELATIVE_DISTANCE = 0.1

# Of bias and slopes.
_LARGEST = 1000.0

# Beyond it, more doubt would change nothing: exp(-30) is no confidence.
_MOST_DOUBT = 30.0


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a pose; all finite.

    Attributes:
        inlier_ratio: weighted share of cells whose world point is seen where the cell looks.
        reprojection_median_rad: weighted median reprojection error, as an angle.
        rigid_inlier_ratio: weighted share of cells whose world and camera points agree.
        rigid_median: weighted median distance of world and camera points, relative to the depth.
        mean_weight: of the cells that have weight, in [0, 1].
        deviation_m: largest standard deviation of the position, over all directions.
        deviation_rad: largest standard deviation of the rotation, over all axes.
        moved_m: from the first, closed-form pose to the final one.
        turned_rad: the same, the angle.
        keyframe_m: to the training keyframe that is nearest in position and angle jointly; 0
            where the checkpoint has none.
        keyframe_rad: the same, the angle.
        outside_m: of the position from the box of the training positions.
        landmark_share: of the landmarks that should be in sight, those found where the pose sees
            them; 0 where none were looked for.
    """

    inlier_ratio: float
    reprojection_median_rad: float
    rigid_inlier_ratio: float
    rigid_median: float
    mean_weight: float
    deviation_m: float
    deviation_rad: float
    moved_m: float
    turned_rad: float
    keyframe_m: float
    keyframe_rad: float
    outside_m: float
    landmark_share: float


def _log_odds(share: float) -> float:
    """Of the rest of a share; at a hundredth from 0 and 1 it ends."""
    return math.log((1.01 - share) / (0.01 + share))


def _log_ratio(value: float, usual: float) -> float:
    """Logarithm to a usual value; 20 times less or more is the least or most."""
    return math.log(min(max(value / usual, 0.05), 20.0))


# Each grows with doubt and is about 0 where a pose is neither good nor bad.
SIGNALS: dict[str, Callable[[Evidence], float]] = {
    'reprojection_outliers': lambda e: _log_odds(e.inlier_ratio),
    'reprojection_error': lambda e: _log_ratio(e.reprojection_median_rad, INLIER_ANGLE_RAD),
    'rigid_outliers': lambda e: _log_odds(e.rigid_inlier_ratio),
    'rigid_error': lambda e: _log_ratio(e.rigid_median, INLIER_RELATIVE_DISTANCE),
    'small_weights': lambda e: -_log_ratio(e.mean_weight, 0.5),
    'position_deviation': lambda e: _log_ratio(e.deviation_m, RIGHT_M),
    'rotation_deviation': lambda e: _log_ratio(e.deviation_rad, RIGHT_RAD),
    'position_disagreement': lambda e: _log_ratio(e.moved_m, RIGHT_M),
    'rotation_disagreement': lambda e: _log_ratio(e.turned_rad, RIGHT_RAD),
    'keyframe_distance': lambda e: math.log1p(e.keyframe_m / RIGHT_M),
    'keyframe_angle': lambda e: math.log1p(e.keyframe_rad / RIGHT_RAD),
    'outside': lambda e: math.log1p(e.outside_m / RIGHT_M),
    'landmarks_missing': lambda e: -_log_ratio(e.landmark_share, 0.1),
}


def _default_slopes() -> dict[str, float]:
    return {
        'reprojection_outliers': 0.5,
        'reprojection_error': 0.5,
        'rigid_outliers': 0.3,
        'rigid_error': 0.3,
        'small_weights': 0.0,
        'position_deviation': 1.5,
        'rotation_deviation': 1.0,
        'position_disagreement': 0.3,
        'rotation_disagreement': 0.3,
        'keyframe_distance': 0.5,
        'keyframe_angle': 0.5,
        'outside': 1.0,
        'landmarks_missing': 0.0,
    }


@dataclass(frozen=True)
class ConfidenceModel:
    """A logistic model of the signals.

    Attributes:
        bias: log odds of a pose that gives no signal.
        slopes: non-negative, by the names of SIGNALS: what a unit of each takes from the log odds.
    """

    bias: float = 0.0
    slopes: Mapping[str, float] = field(default_factory=_default_slopes)


def signals(evidence: Evidence) -> list[float]:
    """The values of all SIGNALS, in their order."""
    return [signal(evidence) for signal in SIGNALS.values()]


def confidence(evidence: Evidence, model: ConfidenceModel) -> float:
    """Probability that a pose is within 25 cm and 10 degrees of the truth, in [0, 1]."""
    doubt = sum(model.slopes[name] * signal(evidence) for name, signal in SIGNALS.items())
    doubt -= model.bias
    return 1 / (1 + math.exp(min(max(doubt, -_MOST_DOUBT), _MOST_DOUBT)))


def parse_model(header: object) -> ConfidenceModel:
    """A model from a checkpoint's header.

    Raises:
        ValueError: an entry is missing, unknown, of a wrong type or out of range.
    """
    if not isinstance(header, Mapping) or header.keys() != {'bias', 'slopes'}:
        raise ValueError('the confidence of its calibration is no bias and slopes')
    slopes = header['slopes']
    if not isinstance(slopes, Mapping) or not slopes.keys() <= SIGNALS.keys():
        raise ValueError('the slopes of its calibration are not those of this version')
    # An older calibration does not know the signals that came later: they tell it nothing.
    return ConfidenceModel(
        number('bias', header['bias'], -_LARGEST, _LARGEST),
        {name: number(name, slopes.get(name, 0.0), 0, _LARGEST) for name in SIGNALS},
    )


def number(name: str, value: Any, least: float, largest: float) -> float:
    """A number of a header.

    Raises:
        ValueError: it is none, or out of range.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least <= value <= largest):
        raise ValueError(f'{name} of its calibration is {value!r}')
    return float(value)
