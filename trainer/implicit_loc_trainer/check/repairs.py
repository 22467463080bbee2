"""The ways in which poses are written down wrongly, each with its repair.

A world frame of another orientation changes nothing between two cameras: relative poses cancel
it. What remains: the direction of the transform, the order of the quaternion, the axes of the
camera frame (24 rotations, and 24 mirrors for left-handed systems), and positions whose axes are
not those of the rotations.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.datasets.parsing import inverse

FloatArray = NDArray[np.float64]
Repair = Callable[[FloatArray], FloatArray]


def _rotation_inverted(poses: FloatArray) -> FloatArray:
    return changed_poses(poses, rotation=np.swapaxes(poses[:, :3, :3], 1, 2))


def _translation_of_inverse(poses: FloatArray) -> FloatArray:
    centres = -(poses[:, :3, :3] @ poses[:, :3, 3:])[..., 0]
    return changed_poses(poses, translation=centres)


def _reordered(order: Sequence[int]) -> Repair:
    def repair(poses: FloatArray) -> FloatArray:
        quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()[:, order]
        return changed_poses(poses, rotation=Rotation.from_quat(quaternions).as_matrix())

    return repair


def _of_inverse(repair: Repair) -> Repair:
    return lambda poses: inverse(repair(inverse(poses)))


def _as_they_are(poses: FloatArray) -> FloatArray:
    return poses


@dataclass(frozen=True)
class Step:
    """One mistake: its code, in words, what helps, and how it is repaired."""

    code: str
    words: str
    advice: str
    repair: Repair


NOTHING = Step('', '', '', _as_they_are)

DIRECTIONS = (
    NOTHING,
    Step('world-to-camera', 'world-to-camera', 'invert every pose', inverse),
    Step(
        'rotation-world-to-camera',
        'world-to-camera in the rotation alone, with the camera centre as translation',
        'transpose the rotations and keep the translations',
        _rotation_inverted,
    ),
    Step(
        'translation-world-to-camera',
        'camera-to-world in the rotation, with the translation of world-to-camera',
        'replace every translation t by -R t',
        _translation_of_inverse,
    ),
)

_WXYZ_READ_AS_XYZW, _XYZW_READ_AS_WXYZ = (1, 2, 3, 0), (3, 0, 1, 2)
_WXYZ_WORDS = 'quaternions written as w x y z but read as x y z w'
_XYZW_WORDS = 'quaternions written as x y z w but read as w x y z'
_WXYZ_ADVICE = 'write the quaternions as x y z w'
_XYZW_ADVICE = 'write the quaternions as w x y z'
ORDERS = (
    NOTHING,
    Step('quaternion-wxyz', _WXYZ_WORDS, _WXYZ_ADVICE, _reordered(_WXYZ_READ_AS_XYZW)),
    Step('quaternion-xyzw', _XYZW_WORDS, _XYZW_ADVICE, _reordered(_XYZW_READ_AS_WXYZ)),
    # As readers of world-to-camera formats make them.
    Step(
        'quaternion-wxyz',
        _WXYZ_WORDS,
        _WXYZ_ADVICE,
        _of_inverse(_reordered(_WXYZ_READ_AS_XYZW)),
    ),
    Step(
        'quaternion-xyzw',
        _XYZW_WORDS,
        _XYZW_ADVICE,
        _of_inverse(_reordered(_XYZW_READ_AS_WXYZ)),
    ),
)

_AXIS_WORDS = {
    (0, 1): 'right',
    (0, -1): 'left',
    (1, 1): 'down',
    (1, -1): 'up',
    (2, 1): 'forward',
    (2, -1): 'backward',
}
_KNOWN_AXES: dict[tuple[str, ...], str] = {
    ('forward', 'left', 'up'): 'axes-body',
    ('right', 'up', 'backward'): 'axes-opengl',
}
_KNOWN_NAMES = {
    'axes-body': ' (the body frame of ROS, base_link)',
    'axes-opengl': ' (OpenGL, Blender)',
}


def proper_axes() -> list[FloatArray]:
    """The 24 rotations that map axes to axes; the first is the identity."""
    matrices: list[FloatArray] = []
    for permutation in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), permutation] = signs
            if np.linalg.det(matrix) > 0:
                matrices.append(matrix)
    return matrices


def axes_step(body_from_camera: FloatArray, mirrored: bool = False) -> Step:
    """The poses are those of a frame with other axes than the optical frame."""
    sign = -1.0 if mirrored else 1.0
    directions = []
    for row in body_from_camera * sign:
        axis = int(np.abs(row).argmax())
        directions.append(_AXIS_WORDS[axis, int(row[axis])])
    named = ', '.join(f'{name} {way}' for name, way in zip('xyz', directions, strict=True))
    code = _KNOWN_AXES.get(tuple(directions), 'axes-' + '-'.join(directions))
    hand = ', left-handed' if mirrored else ''
    columns = np.array2string((body_from_camera * sign).astype(int), separator=', ')
    matrix = ' '.join(columns.split())

    def repair(poses: FloatArray) -> FloatArray:
        turned = changed_poses(poses, rotation=poses[:, :3, :3] @ body_from_camera)
        # A mirrored camera frame needs a mirrored world to leave a rotation.
        return changed_poses(turned, translation=-turned[:, :3, 3]) if mirrored else turned

    advice = f'multiply every camera-to-world rotation from the right by {matrix}'
    if mirrored:
        advice += ', and mirror the same axis of the world, so that it stays a rotation'
    return Step(
        code,
        f'of a camera frame with {named}{hand}{_KNOWN_NAMES.get(code, "")} '
        'instead of x right, y down, z forward',
        advice,
        repair,
    )


def positions_step(world_from_given: FloatArray, mirrored: bool = False) -> Step:
    """Positions in other axes than the rotations."""
    matrix = world_from_given * (-1.0 if mirrored else 1.0)
    words = []
    for row in matrix:
        axis = int(np.abs(row).argmax())
        words.append(('-' if row[axis] < 0 else '') + 'xyz'[axis])
    triple = f'({", ".join(words)})'
    return Step(
        'positions-other-axes',
        f'of a world whose positions have other axes than its rotations: {triple} fits',
        f'replace every position (x, y, z) by {triple}',
        lambda poses: changed_poses(poses, translation=poses[:, :3, 3] @ matrix.T),
    )


def changed_poses(
    poses: FloatArray,
    rotation: FloatArray | None = None,
    translation: FloatArray | None = None,
) -> FloatArray:
    """Poses (N, 4, 4) with other rotations (N, 3, 3) or translations (N, 3)."""
    changed = poses.copy()
    if rotation is not None:
        changed[:, :3, :3] = rotation
    if translation is not None:
        changed[:, :3, 3] = translation
    return changed
