"""Where the camera sits on what the truth tracks, as people write it down."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from implicit_loc_trainer.datasets.bag_options import read_transform
from implicit_loc_trainer.datasets.parsing import (
    FloatArray,
    numbers,
    placed_lines,
    read_yaml,
    rigid_from_matrix,
    rigid_from_quaternion,
)
from implicit_loc_trainer.datasets.sample import DataError

_FORMS = 'the 7 numbers x y z qx qy qz qw, or a file of 7 numbers, of a 4x4 matrix or of YAML'


def read_extrinsic(text: str) -> FloatArray:
    """tracked_from_camera as it stands on the command line.

    Args:
        text: seven numbers (metres, unit quaternion), apart by blanks or commas; or the path of
            a file: YAML with `translation` and `rotation`, or seven or sixteen numbers.

    Returns:
        (4, 4), metres.

    Raises:
        DataError: neither, or the numbers are no rigid transform.
    """
    if Path(text).is_file():
        return _read_file(Path(text))
    values = text.replace(',', ' ').split()
    if len(values) != 7:
        raise DataError(f'--extrinsic {text}: expected {_FORMS}')
    return _from_numbers('--extrinsic', numbers('--extrinsic', values))


def _read_file(file: Path) -> FloatArray:
    if file.suffix in ('.yaml', '.yml'):
        return read_transform(file, 'the extrinsic', read_yaml(file))
    values = [value for place, words in placed_lines(file) for value in numbers(place, words)]
    return _from_numbers(str(file), values)


def _from_numbers(place: str, values: Sequence[float]) -> FloatArray:
    if len(values) == 7:
        return rigid_from_quaternion(place, values[:3], values[3:])
    if len(values) == 16:
        return rigid_from_matrix(place, np.reshape(values, (4, 4)))
    raise DataError(f'{place}: found {len(values)} numbers, expected {_FORMS}')
