"""COLMAP models, read by pycolmap.

A folder with images/ and the model (cameras, images, points3D as .bin or .txt) in it, in sparse/
or in sparse/0; or the folder of the model, with images/ at most two folders above. The split
comes from train.txt or test.txt beside images/ (names as in the model), else from blocks in the
order of the names.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.images import check_image_file, find_extras, load_image
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    inverse,
    make_camera,
    numbered_lines,
    numbers,
    rigid_from_quaternion,
)
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import FRAMES_PER_SECOND, check_split, split_samples

_FILES = ('cameras', 'images', 'points3D')

# A .bin file begins with the number of its records, which have so many bytes at least.
_COUNT_BYTES = 8
_LEAST_BYTES = {'cameras': 24, 'images': 73, 'points3D': 51}


class _Model(NamedTuple):
    """How COLMAP's parameters of a camera model map to ours.

    Attributes:
        focal_lengths: one (f) or two (fx, fy); then follow cx, cy and the distortion.
        distortion_model: ours.
        padding: zeros to add after the distortion.
    """

    focal_lengths: int
    distortion_model: str = 'none'
    padding: int = 0


_MODELS = {
    'SIMPLE_PINHOLE': _Model(1),
    'PINHOLE': _Model(2),
    'SIMPLE_RADIAL': _Model(1, 'plumb_bob', padding=3),
    'RADIAL': _Model(1, 'plumb_bob', padding=2),
    'OPENCV': _Model(2, 'plumb_bob'),
    'FULL_OPENCV': _Model(2, 'rational_polynomial'),
    'OPENCV_FISHEYE': _Model(2, 'equidistant'),
}


def matches(path: Path) -> bool:
    """Whether a folder holds a model."""
    return _model_folder(path) is not None


def read(path: Path, split: str | Path) -> list[Sample]:
    """The registered images of a split, in the order of their names.

    Args:
        path: The folder with images/, or the one of the model.
        split: 'train', 'test', or a text file of image names as in the model.

    Raises:
        DataError: pycolmap is not installed, a missing or malformed file, an unknown camera
            model, a missing image or one of another size.
    """
    check_split(path, split)
    folder = _model_folder(path)
    if folder is None:
        raise DataError(f'{path} holds no COLMAP model')
    images = _image_folder(path, folder)
    reconstruction = _read_model(folder)
    cameras = {
        number: _camera(f'{folder}: camera {number}', camera)
        for number, camera in reconstruction.cameras.items()
    }
    registered = {
        image.name: image for image in reconstruction.images.values() if _is_registered(image)
    }
    samples: list[Sample] = []
    for name in sorted(registered):
        image = registered[name]
        camera = cameras[image.camera_id]
        place = f'{folder}: {name}'
        check_image_file(place, images / name, camera)
        extras = find_extras(images.parent, name, camera)
        samples.append(
            Sample(
                name=name,
                camera=camera,
                world_from_camera=inverse(_camera_from_world(place, image)),
                timestamp=len(samples) / FRAMES_PER_SECOND,
                load_image=partial(load_image, place, images / name, camera),
                load_depth=extras.load_depth,
                load_mask=extras.load_mask,
            )
        )
    return split_samples(images.parent, samples, split)


def _model_folder(path: Path) -> Path | None:
    for folder in (path, path / 'sparse' / '0', path / 'sparse'):
        if any((folder / f'cameras.{suffix}').is_file() for suffix in ('bin', 'txt')):
            return folder
    return None


def _image_folder(path: Path, model: Path) -> Path:
    model = model.resolve()
    for root in (path, model, model.parent, model.parent.parent):
        if (root / 'images').is_dir():
            return root / 'images'
    raise DataError(f'the folder images is not beside the model {model}')


def _read_model(folder: Path) -> Any:
    """The pycolmap.Reconstruction of a folder; text is checked first, line by line."""
    try:
        import pycolmap  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise DataError(
            f'{folder} is a COLMAP model, and pycolmap is not installed: '
            "pip install 'implicit-loc-trainer[colmap]'"
        ) from error
    suffix = 'bin' if (folder / 'cameras.bin').is_file() else 'txt'
    for name in _FILES:
        if not (folder / f'{name}.{suffix}').is_file():
            raise DataError(f'{folder} lacks {name}.{suffix} (it may be empty, if it is points3D)')
    if suffix == 'txt':
        _check_cameras(folder / 'cameras.txt')
        _check_images(folder / 'images.txt')
    else:
        _check_counts(folder)
    try:
        model = pycolmap.Reconstruction(str(folder))
        # pycolmap decodes a name when it is asked for.
        sorted(image.name for image in model.images.values())
    except (ValueError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        raise DataError(
            f'cannot read the model {folder}: its .{suffix} files are damaged, cut off, or not of '
            f'one export (pycolmap says: {error}): copy or export it again'
        ) from error
    return model


def _check_counts(folder: Path) -> None:
    """Checks that .bin files can hold what they announce: pycolmap would try for minutes."""
    for name, least in _LEAST_BYTES.items():
        file = folder / f'{name}.bin'
        with file.open('rb') as opened:
            head = opened.read(_COUNT_BYTES)
        announced = int.from_bytes(head, 'little') * least
        size = file.stat().st_size
        if size < _COUNT_BYTES or announced > size - _COUNT_BYTES:
            raise DataError(
                f'cannot read the model {folder}: its .bin files are damaged or cut off '
                f'({file.name} has {size} bytes): copy or export it again'
            )


def _check_cameras(file: Path) -> None:
    """Checks what pycolmap refuses without naming line or camera model."""
    for number, line in numbered_lines(file):
        place, words = f'{file}:{number}', line.split()
        if len(words) < 5:
            raise DataError(
                f'{place}: a camera is "id model width height parameters", '
                f'found {len(words)} values'
            )
        _known_model(place, words[1])
        numbers(place, [words[0], *words[2:]])


def _check_images(file: Path) -> None:
    """Checks what pycolmap refuses without a line, or mends: quaternions of any length."""
    try:
        lines = file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'cannot read {file}: {error}') from error
    points_follow = False
    for number, line in enumerate(lines, start=1):
        if line.startswith('#') or points_follow:
            points_follow = points_follow and line.startswith('#')
            continue
        if not line.strip():
            continue
        place, words = f'{file}:{number}', line.split()
        if len(words) < 10:
            raise DataError(
                f'{place}: an image is "id qw qx qy qz tx ty tz camera name", '
                f'found {len(words)} values'
            )
        _, w, x, y, z, tx, ty, tz, _ = numbers(place, words[:9])
        rigid_from_quaternion(place, (tx, ty, tz), (x, y, z, w))
        # The line after an image lists its points, and may be empty.
        points_follow = True


def _known_model(place: str, name: str) -> _Model:
    if name not in _MODELS:
        raise DataError(
            f'{place}: the camera model {name} is not known; known are {", ".join(_MODELS)}'
        )
    return _MODELS[name]


def _camera(place: str, camera: Any) -> Camera:
    model = _known_model(place, camera.model.name)
    parameters = [float(value) for value in camera.params]
    fx, fy = parameters[0], parameters[model.focal_lengths - 1]
    cx, cy, *distortion = parameters[model.focal_lengths :]
    return make_camera(
        place,
        (camera.width, camera.height),
        # COLMAP counts from the image's corner, we from the centre of the first pixel.
        (fx, fy, cx - 0.5, cy - 0.5),
        model.distortion_model,
        [*distortion, *[0.0] * model.padding],
    )


def _is_registered(image: Any) -> bool:
    # Models of older versions hold registered images only, and their images lack the attribute.
    return bool(getattr(image, 'has_pose', True))


def _camera_from_world(place: str, image: Any) -> FloatArray:
    # A method since images belong to the frames of rigs, an attribute before.
    pose = image.cam_from_world
    pose = pose() if callable(pose) else pose
    # Its matrix would be made of a quaternion of any length.
    return rigid_from_quaternion(place, pose.translation, pose.rotation.quat)
