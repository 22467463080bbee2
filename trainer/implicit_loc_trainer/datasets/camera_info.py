"""Cameras as ROS describes them: the fields of CameraInfo and the YAML files of calibrators."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.parsing import make_camera, read_yaml
from implicit_loc_trainer.datasets.sample import DataError

# Drivers' names for the models that the core knows under CameraInfo's.
_MODEL_ALIASES = {'fisheye': 'equidistant', 'kannala_brandt4': 'equidistant', '': 'plumb_bob'}

# Coefficients of each model; drivers pad with zeros beyond them.
_COEFFICIENTS = {'plumb_bob': 5, 'rational_polynomial': 8, 'equidistant': 4}


def camera_from_info(
    place: str, size: tuple[int, int], k: Sequence[float], model: str, d: Sequence[float]
) -> Camera:
    """A camera from the fields of a CameraInfo.

    Args:
        place: where the values stand, for messages.
        size: width and height, pixels.
        k: the nine values of K, row by row.
        model: the name of the distortion model.
        d: its coefficients.

    Raises:
        DataError: the camera is not calibrated, or its model is not known.
    """
    if len(k) != 9:
        raise DataError(f'{place}: the camera matrix has 9 values, found {len(k)}')
    model = _MODEL_ALIASES.get(model, model)
    count = _COEFFICIENTS.get(model, len(d))
    coefficients = tuple(d) if any(d[count:]) else tuple(d[:count])
    return make_camera(place, size, (k[0], k[4], k[2], k[5]), model, coefficients)


def read_camera_yaml(file: Path) -> Camera:
    """A camera from a file in the format of ROS's camera calibration.

    Raises:
        DataError: the file cannot be read, a key is missing or holds no numbers.
    """
    content = read_yaml(file)
    size = []
    for key in ('image_width', 'image_height'):
        value = content.get(key)
        if not isinstance(value, int):
            raise DataError(f'{file}: {key} must be a number of pixels, found {value!r}')
        size.append(value)
    model = content.get('distortion_model', '')
    return camera_from_info(
        str(file),
        (size[0], size[1]),
        _matrix(file, content, 'camera_matrix'),
        str(model),
        _matrix(file, content, 'distortion_coefficients'),
    )


def _matrix(file: Path, content: dict[str, object], key: str) -> list[float]:
    """The values of `key: {rows: R, cols: C, data: [...]}`."""
    block = content.get(key)
    data = block.get('data') if isinstance(block, dict) else None
    try:
        values = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(())
    if values.ndim != 1:
        raise DataError(f'{file}: {key} must hold "data: [...]" with numbers, found {block!r}')
    return [float(value) for value in values]
