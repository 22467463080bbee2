"""One sequence of 7-Scenes redkitchen with poses from structure from motion.

A folder with rgb/frame-NNNNNN.jpg, optionally depth/frame-NNNNNN.png (millimetres), poses_sfm.txt
with lines `frame tx ty tz qx qy qz qw` (camera-to-world), and the lists train.txt and test.txt.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.sample import DataError, Sample

# Colour camera, self-calibrated with these poses; no distortion.
CAMERA = Camera(width=640, height=480, fx=525.505, fy=525.505, cx=319.5, cy=239.5)

_POSES = 'poses_sfm.txt'
_FRAMES_PER_SECOND = 30.0


def matches(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / _POSES).is_file() and (path / 'rgb').is_dir()


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split in the order of its list.

    Raises:
        DataError: a malformed line, a pose that is not a rigid transform, a frame without its
            image or pose.
    """
    list_file = split if isinstance(split, Path) else path / f'{split}.txt'
    poses = _read_poses(path / _POSES)
    samples = []
    for number, name in _lines(list_file):
        if name not in poses:
            raise DataError(f'{list_file}:{number}: {_POSES} has no pose for the frame {name!r}')
        image_file = path / 'rgb' / f'frame-{name}.jpg'
        if not image_file.is_file():
            raise DataError(f'{list_file}:{number}: the frame {name} has no image {image_file}')
        depth_file = path / 'depth' / f'frame-{name}.png'
        samples.append(
            Sample(
                name=name,
                camera=CAMERA,
                world_from_camera=poses[name],
                timestamp=int(name) / _FRAMES_PER_SECOND,
                load_image=partial(_load_image, image_file),
                load_depth=partial(_load_depth, depth_file) if depth_file.is_file() else None,
            )
        )
    return samples


def _lines(file: Path) -> list[tuple[int, str]]:
    """Numbered lines that are neither empty nor comments."""
    try:
        text = file.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot read {file}: {error}') from error
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in numbered if line and not line.startswith('#')]


def _read_poses(file: Path) -> dict[str, NDArray[np.float64]]:
    poses = {}
    for number, line in _lines(file):
        name, *fields = line.split()
        try:
            values = np.array([float(field) for field in fields])
        except ValueError as error:
            raise DataError(f'{file}:{number}: {error}') from error
        if len(values) != 7:
            raise DataError(
                f'{file}:{number}: a pose is "frame tx ty tz qx qy qz qw", '
                f'found {len(values)} numbers after the frame'
            )
        if not np.isfinite(values).all():
            raise DataError(f'{file}:{number}: the pose is not finite')
        norm = float(np.linalg.norm(values[3:]))
        if abs(norm - 1) > 1e-3:
            raise DataError(
                f'{file}:{number}: the quaternion has length {norm:.4f}: it is not a rotation'
            )
        poses[name] = _pose_matrix(values[:3], values[3:] / norm)
    return poses


def _pose_matrix(
    translation: NDArray[np.float64], quaternion: NDArray[np.float64]
) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    pose[:3, 3] = translation
    return pose


def _load_image(file: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f'cannot decode the image {file}: it is damaged or no longer there')
    if image.shape[:2] != (CAMERA.height, CAMERA.width):
        raise DataError(
            f'{file} has {image.shape[1]}x{image.shape[0]} pixels, '
            f'the camera {CAMERA.width}x{CAMERA.height}'
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _load_depth(file: Path) -> NDArray[np.float32]:
    depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.dtype != np.uint16:
        raise DataError(f'cannot decode the 16-bit depth image {file}')
    return depth.astype(np.float32) / 1000.0
