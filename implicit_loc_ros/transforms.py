"""Matrices <-> messages, and the covariance of another point of the same rigid body."""

from collections.abc import Sequence

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    Transform,
    TransformStamped,
    Vector3,
)
from numpy.typing import NDArray

from implicit_loc.errors import AlignmentError

FloatArray = NDArray[np.float64]

# A rotation matrix from float32 arithmetic is this close to orthonormal.
_ORTHONORMAL_TOLERANCE = 1e-3
# Rounding of the lever arm's products.
_SYMMETRIC_TOLERANCE = 1e-9


def stamp_to_nanoseconds(stamp: Time) -> int:
    """Nanoseconds since the epoch of the stamp's clock."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def stamp_from_nanoseconds(nanoseconds: int) -> Time:
    """Inverse of `stamp_to_nanoseconds`."""
    sec, nanosec = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def check_pose(a_from_b: FloatArray, covariance: FloatArray) -> None:
    """Refuse what no robot may ever receive.

    Args:
        a_from_b: (4, 4).
        covariance: (6, 6).

    Raises:
        AlignmentError: a value is not finite, the rotation is none, or the covariance is not
            symmetric and positive definite.
    """
    if not (np.isfinite(a_from_b).all() and np.isfinite(covariance).all()):
        raise AlignmentError('the pose or its covariance is not finite')
    rotation = a_from_b[:3, :3]
    deviation = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if deviation > _ORTHONORMAL_TOLERANCE or np.linalg.det(rotation) < 0:
        raise AlignmentError(f'the rotation of the pose is none: off by {deviation:.2g}')
    # Entries of 1 at most: the decomposition must not overflow.
    scaled = covariance / max(np.abs(covariance).max(), np.finfo(np.float64).tiny)
    if np.abs(scaled - scaled.T).max() > _SYMMETRIC_TOLERANCE:
        raise AlignmentError('the covariance of the pose is not symmetric')
    # Receivers take a variance of zero as absolute trust.
    if np.linalg.eigvalsh(scaled)[0] <= 0:
        raise AlignmentError('the covariance of the pose is not positive definite')


def inverse(a_from_b: FloatArray) -> FloatArray:
    """b_from_a, (4, 4)."""
    b_from_a = np.eye(4)
    b_from_a[:3, :3] = a_from_b[:3, :3].T
    b_from_a[:3, 3] = -a_from_b[:3, :3].T @ a_from_b[:3, 3]
    return b_from_a


def base_covariance(
    covariance: FloatArray, world_from_camera: FloatArray, camera_from_base: FloatArray
) -> FloatArray:
    """Covariance of the base's pose from that of the camera's: Ad Sigma Ad^T.

    A rotation error dtheta of the camera moves the base by dtheta x r = -[r]x dtheta, r being
    the lever arm from camera to base in the world's axes; the rotation error is the same.

    Args:
        covariance: (6, 6), x y z and rotation about the fixed axes of the world.
        world_from_camera: (4, 4).
        camera_from_base: (4, 4).
    """
    x, y, z = world_from_camera[:3, :3] @ camera_from_base[:3, 3]
    adjoint = np.eye(6)
    adjoint[:3, 3:] = -np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    moved: FloatArray = adjoint @ covariance @ adjoint.T
    # The two triangles are rounded differently.
    symmetric: FloatArray = (moved + moved.T) / 2
    return symmetric


def aligned_covariance(covariance: FloatArray, map_from_world: FloatArray) -> FloatArray:
    """Covariance of a body's pose in the map from that in the world, both (6, 6).

    Errors of position and rotation turn with the axes; the body stays the same, so that no lever
    arm comes in.

    Args:
        covariance: x y z and rotation about the fixed axes of the world.
        map_from_world: (4, 4).
    """
    turn = np.kron(np.eye(2), map_from_world[:3, :3])
    turned: FloatArray = turn @ covariance @ turn.T
    # The two triangles are rounded differently.
    symmetric: FloatArray = (turned + turned.T) / 2
    return symmetric


def quaternion_message(rotation: FloatArray) -> Quaternion:
    """Unit quaternion with w >= 0 of a rotation matrix, (3, 3)."""
    # Rodrigues also projects onto the nearest rotation, so the quaternion is exactly unit.
    vector = cv2.Rodrigues(np.ascontiguousarray(rotation, dtype=np.float64))[0].ravel()
    angle = float(np.linalg.norm(vector))
    # np.sinc(x) = sin(pi x) / (pi x): no division by zero for small angles.
    x, y, z = (float(value) for value in 0.5 * np.sinc(angle / 2 / np.pi) * vector)
    return Quaternion(x=x, y=y, z=z, w=float(np.cos(angle / 2)))


def pose_message(a_from_b: FloatArray) -> Pose:
    """Pose of frame b in frame a."""
    pose = Pose(orientation=quaternion_message(a_from_b[:3, :3]))
    pose.position.x, pose.position.y, pose.position.z = map(float, a_from_b[:3, 3])
    return pose


def pose_stamped(stamp: Time, frame: str, frame_from_body: FloatArray) -> PoseStamped:
    """Pose of a body in a frame."""
    message = PoseStamped(pose=pose_message(frame_from_body))
    message.header.stamp = stamp
    message.header.frame_id = frame
    return message


def pose_with_covariance_stamped(
    stamp: Time, frame: str, frame_from_body: FloatArray, covariance: FloatArray
) -> PoseWithCovarianceStamped:
    """Pose of a body in a frame with its (6, 6) covariance."""
    message = PoseWithCovarianceStamped()
    message.header.stamp = stamp
    message.header.frame_id = frame
    message.pose.pose = pose_message(frame_from_body)
    message.pose.covariance = covariance.ravel()
    return message


def transform_stamped(
    stamp: Time, parent: str, child: str, parent_from_child: FloatArray
) -> TransformStamped:
    """The edge of the TF tree from parent to child."""
    message = TransformStamped(child_frame_id=child)
    message.header.stamp = stamp
    message.header.frame_id = parent
    message.transform.rotation = quaternion_message(parent_from_child[:3, :3])
    translation = message.transform.translation
    translation.x, translation.y, translation.z = map(float, parent_from_child[:3, 3])
    return message


def matrix_from_transform(transform: Transform) -> FloatArray:
    """(4, 4) of a Transform; its quaternion need not be exactly unit."""
    return _matrix(transform.translation, transform.rotation)


def matrix_from_pose(pose: Pose) -> FloatArray:
    """(4, 4) of a Pose; its quaternion need not be exactly unit."""
    return _matrix(pose.position, pose.orientation)


def matrix_from_values(values: Sequence[float]) -> FloatArray:
    """(4, 4) of x y z qx qy qz qw; the quaternion need not be exactly unit."""
    x, y, z, qx, qy, qz, qw = values
    return _matrix(Point(x=x, y=y, z=z), Quaternion(x=qx, y=qy, z=qz, w=qw))


def _matrix(position: Point | Vector3, q: Quaternion) -> FloatArray:
    vector, real = np.array([q.x, q.y, q.z]), q.w
    x, y, z = vector
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    scale = 2.0 / (vector @ vector + real * real)
    matrix = np.eye(4)
    # R = I + 2 (w [v]x + [v]x^2) / |q|^2
    matrix[:3, :3] += scale * (real * skew + skew @ skew)
    matrix[:3, 3] = (position.x, position.y, position.z)
    return matrix
