"""Where somebody says that the robot is: a message, checked."""

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from implicit_loc.errors import ImplicitLocError
from implicit_loc_ros.pose_gate import InitialPose
from implicit_loc_ros.transforms import FloatArray, matrix_from_pose

# Tools round quaternions to a few digits.
_UNIT_TOLERANCE = 1e-2
# Of the largest entry of a covariance: rounding of another program's arithmetic.
_COVARIANCE_TOLERANCE = 1e-6

# x forward (REP-103), and the optical axis.
_FORWARD_OF_BASE = np.array([1.0, 0.0, 0.0])
_FORWARD_OF_CAMERA = np.array([0.0, 0.0, 1.0])


class InitialPoseError(ImplicitLocError):
    """An initial pose is none, or in another frame."""


def initial_pose_from_message(
    message: PoseWithCovarianceStamped, map_frame: str, of_base: bool
) -> InitialPose:
    """Check an initial pose; its stamp does not matter.

    A variance of 0 of z means that the height is not stated. One of roll or pitch, as RViz sends
    it, means that only the heading is: x of the pose points where the body looks.

    Args:
        message: pose of the body that the node publishes.
        map_frame: in which it must be.
        of_base: the body is the base, else the camera.

    Raises:
        InitialPoseError: another frame, a value that is not finite, a quaternion that is not
            unit, or a covariance that is none or states no variance of x, y and yaw.
    """
    frame = message.header.frame_id
    if frame != map_frame:
        raise InitialPoseError(f'it is in the frame {frame!r}, but the map is {map_frame!r}')
    position, q = message.pose.pose.position, message.pose.pose.orientation
    values = (position.x, position.y, position.z, q.x, q.y, q.z, q.w)
    if not np.isfinite(values).all():
        raise InitialPoseError('its position or orientation is not finite')
    length = float(np.linalg.norm(values[3:]))
    if abs(length - 1.0) > _UNIT_TOLERANCE:
        raise InitialPoseError(f'its quaternion has length {length:.3g}, not 1')
    covariance = np.array(message.pose.covariance, dtype=np.float64).reshape(6, 6)
    _check_covariance(covariance)
    states_tilt = covariance[3, 3] > 0 and covariance[4, 4] > 0
    forward = _FORWARD_OF_BASE if of_base else _FORWARD_OF_CAMERA
    return InitialPose(
        map_from_body=matrix_from_pose(message.pose.pose),
        covariance=covariance,
        states_height=bool(covariance[2, 2] > 0),
        heading_of=None if states_tilt else forward,
    )


def _check_covariance(covariance: FloatArray) -> None:
    if not np.isfinite(covariance).all():
        raise InitialPoseError('its covariance is not finite')
    variances = covariance.diagonal()
    if min(variances[[0, 1, 5]]) <= 0 or min(variances) < 0:
        raise InitialPoseError('its covariance must have variances > 0 of x, y and yaw')
    # Entries of 1 at most: the decomposition must not overflow.
    scaled = covariance / np.abs(covariance).max()
    if np.abs(scaled - scaled.T).max() > _COVARIANCE_TOLERANCE:
        raise InitialPoseError('its covariance is not symmetric')
    if np.linalg.eigvalsh(scaled)[0] < -_COVARIANCE_TOLERANCE:
        raise InitialPoseError('its covariance has a negative eigenvalue')
