"""The made-up demo room as a dataset: open_dataset('demo-room'); nothing is read from disk.

Frames are rendered when they are loaded, and are the same at every load. They are named
'train-0-0000' (flight and frame) and 'test-0000'.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.datasets.splits import read_listed
from implicit_loc_trainer.demo_room.flights import (
    FRAMES_PER_SECOND,
    Flight,
    test_flight,
    training_flights,
)
from implicit_loc_trainer.demo_room.renderer import demo_room

NAME = 'demo-room'
CAMERA = Camera(width=640, height=480, fx=525.0, fy=525.0, cx=319.5, cy=239.5)


def matches(path: Path) -> bool:
    """Whether the path is the name of the demo room; a folder of that name is something else."""
    return str(path) == NAME and not path.exists()


def read(path: Path, split: str | Path) -> list[Sample]:
    """The frames of a split.

    Args:
        path: The name 'demo-room', for messages.
        split: 'train' (all training flights), 'test', or a text file of frame names.

    Raises:
        DataError: An unknown split, a list that cannot be read, or a name that is not a frame.
    """
    return read_listed(path, split, _read_split)


def _read_split(path: Path, split: str) -> list[Sample]:
    return _samples(training_flights() if split == 'train' else [test_flight()])


def _samples(flights: list[Flight]) -> list[Sample]:
    """One sample per frame; flights follow each other in time."""
    samples: list[Sample] = []
    for flight in flights:
        for frame, world_from_camera in enumerate(flight.world_from_camera):
            render = partial(_render, world_from_camera, flight.first_seed + frame)
            samples.append(
                Sample(
                    name=f'{flight.name}-{frame:04d}',
                    camera=CAMERA,
                    world_from_camera=world_from_camera,
                    timestamp=len(samples) / FRAMES_PER_SECOND,
                    load_image=partial(_image, render),
                    load_depth=partial(_depth, render),
                )
            )
    return samples


def _render(
    world_from_camera: NDArray[np.float64], frame_seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return demo_room().render(world_from_camera, CAMERA, frame_seed)


def _image(render: partial[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> NDArray[np.uint8]:
    return render()[0]


def _depth(render: partial[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> NDArray[np.float32]:
    return render()[1]
