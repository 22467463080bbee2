"""The gate: what motion explains passes, what it does not waits for evidence."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from implicit_loc_ros.pose_gate import BodyPose, GateLimits, InitialPose, PoseGate, Tracking

LIMITS = GateLimits(
    min_confidence=0.5,
    max_speed=2.0,
    max_turn_rate=1.0,
    slack_m=0.1,
    slack_rad=0.05,
    timeout_s=5.0,
    reopen_after=3,
    lost_after_s=1.0,
)
# Standard deviations of 1 mm and 1 mrad: the margin is that of the motion.
TIGHT = 1e-6 * np.eye(6)


def matrix(position: Any = (0.0, 0.0, 0.0), rotation: Any = (0.0, 0.0, 0.0)) -> np.ndarray:
    map_from_body = np.eye(4)
    map_from_body[:3, :3] = Rotation.from_rotvec(rotation).as_matrix()
    map_from_body[:3, 3] = position
    return map_from_body


def pose(
    seconds: float,
    position: Any = (0.0, 0.0, 0.0),
    rotation: Any = (0.0, 0.0, 0.0),
    covariance: np.ndarray = TIGHT,
    epoch: int = 0,
) -> BodyPose:
    return BodyPose(round(seconds * 1e9), epoch, matrix(position, rotation), covariance)


def judged(gate: PoseGate, *poses: BodyPose, limits: GateLimits = LIMITS) -> list[str]:
    return [gate.judge(one, 0.9, limits).reason for one in poses]


@pytest.mark.parametrize('confidence', [0.49, 0.0, -1.0, float('nan')])
def test_a_pose_that_is_not_confident_is_refused(confidence: float) -> None:
    gate = PoseGate()
    assert gate.judge(pose(0.0), confidence, LIMITS).reason == 'confidence'
    assert judged(gate, pose(0.1, (50.0, 0.0, 0.0))) == ['']


@given(
    start=arrays(float, 3, elements=st.floats(-1e6, 1e6)),
    steps=st.lists(
        st.tuples(
            st.floats(0.001, 3.0),
            arrays(float, 3, elements=st.floats(-1.0, 1.0)),
            arrays(float, 3, elements=st.floats(-1.0, 1.0)),
        ),
        max_size=10,
    ),
)
def test_motion_within_the_limits_always_passes(start: np.ndarray, steps: list[Any]) -> None:
    gate = PoseGate()
    seconds, map_from_body = 0.0, matrix(start)
    assert judged(gate, BodyPose(0, 0, map_from_body, TIGHT)) == ['']
    for duration, direction, axis in steps:
        seconds += duration
        velocity = LIMITS.max_speed * direction / max(np.linalg.norm(direction), 1.0)
        rate = LIMITS.max_turn_rate * axis / max(np.linalg.norm(axis), 1.0)
        moved = matrix(map_from_body[:3, 3] + velocity * duration)
        turn = Rotation.from_rotvec(rate * duration).as_matrix()
        moved[:3, :3] = turn @ map_from_body[:3, :3]
        map_from_body = moved
        assert judged(gate, BodyPose(round(seconds * 1e9), 0, map_from_body, TIGHT)) == ['']


@pytest.mark.parametrize(
    ('position', 'rotation', 'reason'),
    [
        ((0.29, 0.0, 0.0), (0.0, 0.0, 0.0), ''),
        ((0.31, 0.0, 0.0), (0.0, 0.0, 0.0), 'jump'),
        ((0.0, 0.0, -1e9), (0.0, 0.0, 0.0), 'jump'),
        ((0.0, 0.0, 0.0), (0.0, 0.14, 0.0), ''),
        ((0.0, 0.0, 0.0), (0.0, 0.16, 0.0), 'jump'),
        ((0.0, 0.0, 0.0), (np.pi, 0.0, 0.0), 'jump'),
    ],
)
def test_what_motion_does_not_explain_is_a_jump(position: Any, rotation: Any, reason: str) -> None:
    # In 0.1 s: 0.2 m and 0.1 rad of motion, 0.1 m and 0.05 rad of slack.
    assert judged(PoseGate(), pose(0.0), pose(0.1, position, rotation)) == ['', reason]


def test_a_deviation_widens_the_gate_in_its_direction_only() -> None:
    along_x = np.diag([1.0, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6])
    gate = PoseGate()
    assert judged(gate, pose(0.0)) == ['']
    assert judged(gate, pose(0.1, (0.0, 2.0, 0.0), covariance=along_x)) == ['jump']
    # 3 sigma = 3 m.
    assert judged(gate, pose(0.1, (2.0, 0.0, 0.0), covariance=along_x)) == ['']


def test_agreeing_jumps_overrule_the_last_pose() -> None:
    gate = PoseGate()
    there = [pose(0.1 * i, (20.0 + 0.1 * i, 0.0, 0.0)) for i in range(1, 6)]
    assert judged(gate, pose(0.0), *there) == ['', 'jump', 'jump', '', '', '']
    # The old place is now the jump.
    assert judged(gate, pose(0.7)) == ['jump']


def test_an_overruling_pose_says_so() -> None:
    gate = PoseGate()
    judged(gate, pose(0.0), pose(0.1, (9.0, 0.0, 0.0)), pose(0.2, (9.0, 0.0, 0.0)))
    verdict = gate.judge(pose(0.3, (9.0, 0.0, 0.0)), 0.9, LIMITS)
    assert verdict.accepted
    assert '3 poses agree' in verdict.text


def test_jumps_that_disagree_among_each_other_never_pass() -> None:
    gate = PoseGate()
    scattered = [pose(0.1 * i, (20.0 * (-1) ** i, 0.0, 0.0)) for i in range(1, 40)]
    assert set(judged(gate, pose(0.0), *scattered)[1:]) == {'jump'}


def test_poses_that_fit_reset_the_evidence_of_jumps() -> None:
    gate = PoseGate()
    for i in range(20):
        there = (20.0, 0.0, 0.0) if i % 3 else (0.0, 0.0, 0.0)
        assert judged(gate, pose(0.1 * i, there)) == ['jump' if i % 3 else '']


def test_doubtful_poses_are_no_evidence_for_or_against_a_jump() -> None:
    gate = PoseGate()
    there = (20.0, 0.0, 0.0)
    assert judged(gate, pose(0.0), pose(0.1, there), pose(0.2, there)) == ['', 'jump', 'jump']
    assert gate.judge(pose(0.3, there), 0.1, LIMITS).reason == 'confidence'
    assert judged(gate, pose(0.4, there)) == ['']


def test_a_pose_binds_no_longer_than_its_timeout() -> None:
    for seconds, reason in ((4.9, 'jump'), (5.1, '')):
        assert judged(PoseGate(), pose(0.0), pose(seconds, (99.0, 0.0, 0.0))) == ['', reason]
    off = replace(LIMITS, timeout_s=0.0)
    assert judged(PoseGate(), pose(0.0), pose(0.1, (9.0, 0.0, 0.0)), limits=off) == ['', '']


def test_a_reset_opens_the_gate() -> None:
    gate = PoseGate()
    assert judged(gate, pose(0.0)) == ['']
    gate.reset()
    assert gate.state is Tracking.WAITING
    assert judged(gate, pose(0.1, (20.0, 0.0, 0.0))) == ['']


@pytest.mark.parametrize(('seconds', 'reason'), [(0.0, 'jump'), (-0.5, 'jump'), (-99.0, '')])
def test_stamps_that_stand_still_or_go_back_count_by_their_distance(
    seconds: float, reason: str
) -> None:
    assert judged(PoseGate(), pose(0.0), pose(seconds, (20.0, 0.0, 0.0))) == ['', reason]


def test_a_pose_from_before_a_jump_in_time_binds_none_after_it() -> None:
    after = pose(-2.0, (20.0, 0.0, 0.0), epoch=1)
    assert judged(PoseGate(), pose(0.0), after) == ['', '']


def initial(position: Any, rotation: Any = (0.0, 0.0, 0.0), **changes: Any) -> InitialPose:
    covariance = np.diag([0.25, 0.25, 0.25, 0.01, 0.01, 0.07])
    return InitialPose(matrix(position, rotation), covariance, **changes)


def test_an_initial_pose_opens_the_gate_where_it_is_and_nowhere_else() -> None:
    gate = PoseGate()
    assert judged(gate, pose(0.0)) == ['']
    gate.expect(initial((20.0, 0.0, 0.0)))
    assert judged(gate, pose(9.1)) == ['jump']
    # 3 sigma = 1.5 m.
    assert judged(gate, pose(9.2, (21.2, 0.0, 0.0)), pose(9.3)) == ['', 'jump']


def test_a_wrong_initial_pose_is_overruled() -> None:
    gate = PoseGate()
    gate.expect(initial((20.0, 0.0, 0.0)))
    assert judged(gate, pose(0.0), pose(0.1), pose(0.2)) == ['jump', 'jump', '']


def test_a_height_that_is_not_stated_does_not_count() -> None:
    gate = PoseGate()
    gate.expect(initial((1.0, 2.0, 0.0), states_height=False))
    assert judged(gate, pose(0.0, (1.0, 2.0, 40.0))) == ['']
    gate.expect(initial((1.0, 2.0, 0.0), states_height=False))
    assert judged(gate, pose(0.0, (9.0, 2.0, 40.0))) == ['jump']


# Optical frame of a camera that looks along x of the map: x right, y down, z forward.
LOOKS_ALONG_X = Rotation.from_matrix([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@pytest.mark.parametrize(('yaw', 'reason'), [(0.3, ''), (1.5, 'jump'), (3.1, 'jump')])
@pytest.mark.parametrize('tilt', [-0.8, 0.0, 0.8])
def test_a_heading_is_that_of_the_optical_axis_over_the_ground(
    yaw: float, reason: str, tilt: float
) -> None:
    gate = PoseGate()
    gate.expect(initial((0.0, 0.0, 0.0), heading_of=np.array([0.0, 0.0, 1.0])))
    turned = Rotation.from_rotvec((0.0, 0.0, yaw)) * Rotation.from_rotvec((0.0, tilt, 0.0))
    camera = (turned * LOOKS_ALONG_X).as_rotvec()
    assert judged(gate, pose(0.0, rotation=camera)) == [reason]


def test_a_camera_that_looks_down_fits_every_heading() -> None:
    gate = PoseGate()
    gate.expect(initial((0.0, 0.0, 0.0), heading_of=np.array([0.0, 0.0, 1.0])))
    assert judged(gate, pose(0.0, rotation=(np.pi, 0.0, 0.0))) == ['']


def test_lost_after_a_while_without_a_pose_and_found_by_the_first() -> None:
    gate = PoseGate()
    assert gate.state is Tracking.WAITING
    gate.judge(pose(0.0), 0.1, LIMITS)
    gate.miss(500_000_000, LIMITS)
    assert gate.state is Tracking.WAITING
    gate.miss(1_000_000_000, LIMITS)
    assert gate.state is Tracking.LOST
    judged(gate, pose(1.1))
    assert gate.state is Tracking.TRACKING
    judged(gate, pose(1.2, (50.0, 0.0, 0.0)))
    assert gate.state is Tracking.TRACKING
    gate.judge(pose(2.2), 0.1, LIMITS)
    assert gate.state is Tracking.LOST
    gate.reset()
    assert gate.state is Tracking.WAITING


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=300)
@given(
    frames=st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62),
            st.integers(0, 2),
            arrays(float, 3, elements=anything),
            arrays(float, 3, elements=st.floats(-4.0, 4.0)),
            arrays(float, (6, 6), elements=anything) | st.just(TIGHT),
            anything,
        ),
        max_size=8,
    )
)
def test_no_input_breaks_the_gate_or_gets_past_it(frames: list[Any]) -> None:
    gate = PoseGate()
    for stamp, epoch, position, rotation, covariance, confidence in frames:
        body = BodyPose(stamp, epoch, matrix(position, rotation), covariance)
        verdict = gate.judge(body, confidence, LIMITS)
        finite = np.isfinite(position).all() and np.isfinite(covariance).all()
        if verdict.accepted:
            assert finite
            assert confidence >= LIMITS.min_confidence
            assert gate.state is Tracking.TRACKING
        else:
            assert verdict.text
        assert (verdict.reason == 'alignment') == (not finite)
