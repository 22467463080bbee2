"""What the tests of the trainer share: a demo room whose frames are rendered once."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from implicit_loc_trainer.datasets import demo_room

RENDER = demo_room._render


# A frame takes 2 MB.
@lru_cache(maxsize=64)
def _rendered(pose: bytes, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return RENDER(np.frombuffer(pose).reshape(4, 4), seed)


def _render(
    world_from_camera: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    image, depth = _rendered(world_from_camera.tobytes(), seed)
    return image.copy(), depth.copy()


@pytest.fixture(scope='module', autouse=True)
def rendered_once() -> Iterator[None]:
    """The tests of a file train on the same few frames again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_room, '_render', _render)
        yield
