"""Point clouds as PLY, the format that MeshLab, CloudCompare, Blender and Open3D read."""

from pathlib import Path

import numpy as np

from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.report.point_cloud import PointCloud

# Little endian on every machine.
_VERTEX = np.dtype(
    [('x', '<f4'), ('y', '<f4'), ('z', '<f4'),
     ('red', 'u1'), ('green', 'u1'), ('blue', 'u1'), ('weight', '<f4')]
)  # fmt: skip
_TYPE_NAMES = {'f': 'float', 'u': 'uchar'}


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Writes binary PLY with the properties x y z, red green blue and weight.

    Raises:
        OSError: the file cannot be written.
    """
    vertices = np.empty(len(cloud), _VERTEX)
    for column, name in enumerate(('x', 'y', 'z')):
        vertices[name] = cloud.positions[:, column]
    for column, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = cloud.colours[:, column]
    vertices['weight'] = cloud.weights
    fields = [(name, _VERTEX[name]) for name in _VERTEX.names or ()]
    header = [
        'ply',
        'format binary_little_endian 1.0',
        'comment world points in metres, as an implicit_loc network predicts them',
        f'element vertex {len(vertices)}',
        *(f'property {_TYPE_NAMES[kind.kind]} {name}' for name, kind in fields),
        'end_header',
    ]
    with replacing(path) as temporary, temporary.open('wb') as file:
        file.write(('\n'.join(header) + '\n').encode('ascii'))
        file.write(vertices.data)
