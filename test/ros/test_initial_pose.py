"""Initial poses: what is stated counts, what is none is refused in one line."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('std_srvs', reason='std_srvs is not installed')

from geometry_msgs.msg import PoseWithCovarianceStamped
from scipy.spatial.transform import Rotation

from implicit_loc_ros.initial_pose import InitialPoseError, initial_pose_from_message

FULL = (0.25, 0.25, 0.1, 0.01, 0.01, 0.07)
# As RViz sends it.
PLANAR = (0.25, 0.25, 0.0, 0.0, 0.0, 0.07)


def message(
    position: Any = (1.0, 2.0, 3.0),
    quaternion: Any = (0.0, 0.0, 0.6, 0.8),
    covariance: Any = FULL,
    frame: str = 'map',
) -> PoseWithCovarianceStamped:
    made = PoseWithCovarianceStamped()
    made.header.frame_id = frame
    p, q = made.pose.pose.position, made.pose.pose.orientation
    p.x, p.y, p.z = (float(value) for value in position)
    q.x, q.y, q.z, q.w = (float(value) for value in quaternion)
    covariance = np.asarray(covariance, dtype=float)
    made.pose.covariance = (np.diag(covariance) if covariance.ndim == 1 else covariance).ravel()
    return made


def test_a_full_initial_pose_counts_fully() -> None:
    pose = initial_pose_from_message(message(), 'map', of_base=True)
    np.testing.assert_allclose(pose.map_from_body[:3, 3], (1.0, 2.0, 3.0))
    expected = Rotation.from_quat((0.0, 0.0, 0.6, 0.8)).as_matrix()
    np.testing.assert_allclose(pose.map_from_body[:3, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(pose.covariance, np.diag(FULL))
    assert pose.states_height
    assert pose.heading_of is None


@pytest.mark.parametrize(('of_base', 'forward'), [(True, (1, 0, 0)), (False, (0, 0, 1))])
def test_a_planar_initial_pose_states_no_height_and_only_a_heading(
    of_base: bool, forward: Any
) -> None:
    pose = initial_pose_from_message(message(covariance=PLANAR), 'map', of_base)
    assert not pose.states_height
    assert pose.heading_of is not None
    np.testing.assert_array_equal(pose.heading_of, forward)


def asymmetric() -> np.ndarray:
    covariance = np.diag(FULL)
    covariance[0, 1] = 0.1
    return covariance


def indefinite() -> np.ndarray:
    covariance = np.diag(FULL)
    covariance[0, 1] = covariance[1, 0] = 0.3
    return covariance


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'frame': 'odom'}, "frame 'odom', but the map is 'map'"),
        ({'frame': ''}, "frame '', but the map is 'map'"),
        ({'position': (np.nan, 0, 0)}, 'not finite'),
        ({'quaternion': (0, 0, np.inf, 1)}, 'not finite'),
        ({'quaternion': (0, 0, 0, 0)}, 'length 0, not 1'),
        ({'quaternion': (0, 0, 1, 1)}, 'length 1.41, not 1'),
        ({'covariance': np.full((6, 6), np.nan)}, 'covariance is not finite'),
        ({'covariance': np.zeros(6)}, 'variances > 0'),
        ({'covariance': (0.25, 0.25, -0.1, 0.01, 0.01, 0.07)}, 'variances > 0'),
        ({'covariance': asymmetric()}, 'not symmetric'),
        ({'covariance': indefinite()}, 'negative eigenvalue'),
    ],
)
def test_what_is_no_initial_pose_is_refused_in_one_line(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InitialPoseError, match=reason) as caught:
        initial_pose_from_message(message(**changes), 'map', of_base=True)
    assert '\n' not in str(caught.value)


anything = st.floats(allow_nan=True, allow_infinity=True)


@given(
    position=arrays(float, 3, elements=anything),
    quaternion=arrays(float, 4, elements=anything) | st.just(np.array([0.0, 0.0, 0.0, 1.0])),
    covariance=arrays(float, (6, 6), elements=anything)
    | arrays(float, 6, elements=st.floats(0.0)),
)
def test_every_message_is_taken_or_refused(
    position: np.ndarray, quaternion: np.ndarray, covariance: np.ndarray
) -> None:
    made = message(position, quaternion, covariance)
    try:
        pose = initial_pose_from_message(made, 'map', of_base=False)
    except InitialPoseError:
        return
    assert np.isfinite(pose.map_from_body).all()
    assert np.isfinite(pose.covariance).all()
