"""Geometry of one image as one row of numbers, so that one copy brings it to the host."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicit_loc.network import SceneGeometry
from implicit_loc.runtimes.base import Geometry

FIELDS = ('world_points', 'depth', 'weights', 'own_camera_points', 'descriptors')
Shapes = dict[str, tuple[int, ...]]


def tensors(geometry: SceneGeometry[Tensor]) -> dict[str, Tensor]:
    """What a geometry holds, by name."""
    found = {name: getattr(geometry, name) for name in FIELDS}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def pack(geometry: SceneGeometry[Tensor]) -> tuple[Tensor, Shapes]:
    """The geometry of a batch of one -> (N,) float32, and the shapes without the batch."""
    found = {name: tensor[0] for name, tensor in tensors(geometry).items()}
    packed = torch.cat([tensor.float().flatten() for tensor in found.values()])
    return packed, {name: tuple(tensor.shape) for name, tensor in found.items()}


def unpack(packed: NDArray[np.float32], shapes: Shapes) -> Geometry:
    """The geometry, as views of what `pack` gave."""
    arrays, start = {}, 0
    for name, shape in shapes.items():
        end = start + int(np.prod(shape))
        arrays[name] = packed[start:end].reshape(shape)
        start = end
    return geometry_of(arrays)


def geometry_of(arrays: Mapping[str, NDArray[np.float32]]) -> Geometry:
    """The geometry of arrays by name; those of FIELDS that are missing are None."""
    return SceneGeometry(
        arrays['world_points'],
        arrays['depth'],
        arrays['weights'],
        arrays.get('own_camera_points'),
        arrays.get('descriptors'),
    )
