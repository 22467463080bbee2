"""Rigid motions as translation and unit quaternion (x, y, z, w), and motion along a line."""

import math
from dataclasses import dataclass

from geometry_msgs.msg import Transform

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


def multiply(left: Quaternion, right: Quaternion) -> Quaternion:
    """Return the rotation by `right`, then by `left`."""
    ax, ay, az, aw = left
    bx, by, bz, bw = right
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def rotate(rotation: Quaternion, vector: Vector) -> Vector:
    """Return the rotated vector: v + 2 w (u x v) + 2 u x (u x v)."""
    x, y, z, w = rotation
    vx, vy, vz = vector
    cx, cy, cz = 2 * (y * vz - z * vy), 2 * (z * vx - x * vz), 2 * (x * vy - y * vx)
    return (
        vx + w * cx + y * cz - z * cy,
        vy + w * cy + z * cx - x * cz,
        vz + w * cz + x * cy - y * cx,
    )


def slerp(start: Quaternion, end: Quaternion, ratio: float) -> Quaternion:
    """Return the rotation at `ratio` of the shorter way from start (0) to end (1)."""
    cosine = sum(a * b for a, b in zip(start, end, strict=True))
    # q and -q are the same rotation; the one nearer to the start gives the shorter way.
    sign = -1.0 if cosine < 0 else 1.0
    angle = math.acos(min(1.0, abs(cosine)))
    if angle < 1e-6:
        weights = 1 - ratio, ratio
    else:
        weights = (
            math.sin((1 - ratio) * angle) / math.sin(angle),
            math.sin(ratio * angle) / math.sin(angle),
        )
    mixed = [weights[0] * a + sign * weights[1] * b for a, b in zip(start, end, strict=True)]
    norm = math.sqrt(sum(part * part for part in mixed))
    x, y, z, w = (part / norm for part in mixed)
    return x, y, z, w


@dataclass(frozen=True)
class Motion:
    """A rigid motion: points of the child frame, seen in the parent frame."""

    translation: Vector = (0.0, 0.0, 0.0)
    rotation: Quaternion = (0.0, 0.0, 0.0, 1.0)

    @classmethod
    def from_message(cls, message: Transform) -> 'Motion':
        """Read a geometry_msgs Transform; its quaternion has to be near to unit length."""
        translation, rotation = message.translation, message.rotation
        norm = math.hypot(rotation.x, rotation.y, rotation.z, rotation.w)
        values = (norm, translation.x, translation.y, translation.z)
        if not all(map(math.isfinite, values)) or abs(norm * norm - 1) > 0.01:
            raise ValueError('not a finite translation with a unit quaternion')
        return cls(
            (translation.x, translation.y, translation.z),
            (rotation.x / norm, rotation.y / norm, rotation.z / norm, rotation.w / norm),
        )

    def to_message(self) -> Transform:
        """Return the geometry_msgs Transform."""
        message = Transform()
        message.translation.x, message.translation.y, message.translation.z = self.translation
        rotation = message.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = self.rotation
        return message

    def __matmul__(self, other: 'Motion') -> 'Motion':
        """a_from_b @ b_from_c = a_from_c."""
        x, y, z = rotate(self.rotation, other.translation)
        tx, ty, tz = self.translation
        return Motion((x + tx, y + ty, z + tz), multiply(self.rotation, other.rotation))

    def inverse(self) -> 'Motion':
        """Return the motion the other way round."""
        x, y, z, w = self.rotation
        inverse_rotation = (-x, -y, -z, w)
        tx, ty, tz = rotate(inverse_rotation, self.translation)
        return Motion((-tx, -ty, -tz), inverse_rotation)

    def towards(self, other: 'Motion', ratio: float) -> 'Motion':
        """Return the motion at `ratio` of the way to the other one."""
        x, y, z = (
            (1 - ratio) * a + ratio * b
            for a, b in zip(self.translation, other.translation, strict=True)
        )
        return Motion((x, y, z), slerp(self.rotation, other.rotation, ratio))
