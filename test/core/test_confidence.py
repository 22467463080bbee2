"""Confidence orders poses as their evidence does, and a header's model is checked."""

import dataclasses
import math

import pytest

pytest.importorskip('hypothesis', reason='hypothesis is not installed')

from hypothesis import given
from hypothesis import strategies as st

from implicit_loc.calibration import Calibration, parse_calibration
from implicit_loc.confidence import SIGNALS, ConfidenceModel, Evidence, confidence, signals

GOOD = Evidence(
    inlier_ratio=0.9,
    reprojection_median_rad=0.004,
    rigid_inlier_ratio=0.95,
    rigid_median=0.02,
    mean_weight=0.6,
    deviation_m=0.03,
    deviation_rad=0.02,
    moved_m=0.03,
    turned_rad=0.01,
    keyframe_m=0.1,
    keyframe_rad=0.1,
    outside_m=0.0,
    landmark_share=0.4,
)
LOST = Evidence(0.01, 0.4, 0.02, 0.9, 0.05, 1.0, 0.4, 1.5, 0.8, 2.0, 1.5, 0.8, 0.03)
# Whether more of it speaks for a pose.
SPEAKS_FOR = {'inlier_ratio', 'rigid_inlier_ratio', 'mean_weight', 'landmark_share'}
NAMES = [field.name for field in dataclasses.fields(Evidence)]


def test_an_unknown_map_trusts_a_good_pose_and_no_lost_one() -> None:
    assert confidence(GOOD, ConfidenceModel()) > 0.95
    assert confidence(LOST, ConfidenceModel()) < 0.01


@pytest.mark.parametrize('name', NAMES)
def test_every_piece_of_evidence_counts_in_one_direction(name: str) -> None:
    model = ConfidenceModel(0.0, dict.fromkeys(SIGNALS, 0.5))
    values = [share * (1 if name in SPEAKS_FOR else 3) for share in (0.01, 0.1, 0.3, 0.6, 0.9)]
    found = [confidence(dataclasses.replace(GOOD, **{name: value}), model) for value in values]
    assert found == sorted(found, reverse=name not in SPEAKS_FOR)
    assert found[0] != found[-1]


@given(st.lists(st.floats(0, 1e12), min_size=len(NAMES), max_size=len(NAMES)))
def test_confidence_is_a_probability_whatever_the_evidence(values: list[float]) -> None:
    evidence = Evidence(*values)
    shares = {name: min(getattr(evidence, name), 1.0) for name in SPEAKS_FOR}
    evidence = dataclasses.replace(evidence, **shares)
    assert all(map(math.isfinite, signals(evidence)))
    assert 0 <= confidence(evidence, ConfidenceModel()) <= 1
    steep = ConfidenceModel(-1000.0, dict.fromkeys(SIGNALS, 1000.0))
    assert 0 <= confidence(evidence, steep) <= 1


def test_a_calibration_comes_back_from_its_header() -> None:
    slopes = {name: index / 10 for index, name in enumerate(SIGNALS)}
    written = Calibration(1.5, 2.5, ConfidenceModel(-0.5, slopes), 55, 7.5, 6.5)
    assert parse_calibration(dataclasses.asdict(written)) == written


def test_a_calibration_from_before_the_factors_of_cells_has_the_usual_ones() -> None:
    header = dataclasses.asdict(Calibration(1.5, 2.5, frames=55))
    del header['cells_translation_factor'], header['cells_rotation_factor']
    found = parse_calibration(header)
    assert found.factors(on_landmarks=True) == (1.5, 2.5)
    assert found.factors(on_landmarks=False) == Calibration().factors(on_landmarks=False)


@pytest.mark.parametrize(
    ('entry', 'value'),
    [
        ('translation_factor', 0.0),
        ('translation_factor', math.nan),
        ('translation_factor', '1'),
        ('rotation_factor', -1.0),
        ('rotation_factor', True),
        ('cells_rotation_factor', math.inf),
        ('frames', -1),
        ('frames', None),
        ('confidence', {}),
        ('confidence', {'bias': math.inf, 'slopes': dict.fromkeys(SIGNALS, 0.0)}),
        ('confidence', {'bias': 0.0, 'slopes': {'unheard of': 1.0}}),
        ('confidence', {'bias': 0.0, 'slopes': dict.fromkeys(SIGNALS, -1.0)}),
        ('confidence', {'bias': 0.0, 'slopes': [1.0]}),
        ('another', 1.0),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(entry: str, value: object) -> None:
    header = dataclasses.asdict(Calibration())
    with pytest.raises(ValueError, match='its calibration'):
        parse_calibration({**header, entry: value})
    with pytest.raises(ValueError, match='its calibration'):
        parse_calibration(5)
