"""A landmark is described by what the network sees where it lies."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.landmark_map import LandmarkMap
from implicit_loc.network import NetworkConfig
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.landmarks.choosing import ChosenLandmarks
from implicit_loc_trainer.landmarks.describing import describe_landmarks

CAMERA = Camera(width=128, height=96, fx=100.0, fy=100.0, cx=63.5, cy=47.5)
DEPTH_M = 2.0
# A step to the side that shifts the image by one cell of the coarser features.
STEP_M = 8 / CAMERA.fx * DEPTH_M
CELLS = [(8, 10), (9, 12), (12, 9), (14, 14), (16, 11)]


class _Colours(nn.Module):
    """A network whose features are the mean colours of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def descriptor_features(self, image: Tensor) -> list[Tensor]:
        return [functional.avg_pool2d(image * self.weight, stride) for stride in (4, 8)]

    def empty_landmarks(self, count: int) -> LandmarkMap:
        return LandmarkMap(count, (3, 3))


def _description(centre: tuple[float, float, float]) -> CheckpointDescription:
    network = NetworkConfig(scene_centre=centre)
    return CheckpointDescription(network, CAMERA.height, CAMERA, '', '', (centre, centre))


def _wall(count: int, offset: float = 0.0) -> list[Sample]:
    """Frames along a textured wall, each with the landmarks at the centres of CELLS."""
    rng = np.random.default_rng(3)
    texture = rng.integers(0, 256, (CAMERA.height, CAMERA.width + 8 * count, 3), dtype=np.uint8)
    pixels = np.array([(4 * column + 1.5, 4 * row + 1.5) for column, row in CELLS])
    points = DEPTH_M * CAMERA.unproject(pixels) + offset
    frames = []
    for index in range(count):
        pose = np.eye(4)
        pose[:3, 3] = offset + np.array([index * STEP_M, 0, 0])
        image = np.ascontiguousarray(texture[:, 8 * index : 8 * index + CAMERA.width])
        frames.append(
            Sample(f'frame {index}', CAMERA, pose, index, _loader(image), landmarks=points)
        )
    return frames


def _loader(image: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: image


def _describe(
    frames: Sequence[Sample], report: Callable[[str], None], offset: float = 0.0
) -> LandmarkMap | None:
    chosen = ChosenLandmarks.of(frames, 10)
    description = _description((offset, offset, offset))
    return describe_landmarks(_Colours(), description, frames, chosen, report)


def _described(frames: Sequence[Sample], offset: float = 0.0) -> LandmarkMap:
    said: list[str] = []
    found = _describe(frames, said.append, offset)
    assert found is not None
    assert not said
    return found


def _seen_in(found: LandmarkMap, frame: Sample, index: int) -> Tensor:
    """Products of the landmarks' descriptors with those of the frame where they lie in it."""
    image = preprocessing.normalise(preprocessing.to_tensor(frame.load_image())[None])
    descriptors = found(_Colours().descriptor_features(image))[0].detach()
    there = torch.stack([descriptors[row, column - 2 * index] for column, row in CELLS])
    order = [_place(found, number) for number in range(len(CELLS))]
    return (there * found.descriptors[order].float()).sum(dim=-1)


def _place(found: LandmarkMap, number: int) -> int:
    """Where in the map the landmark of a cell is."""
    column, row = CELLS[number]
    point = DEPTH_M * CAMERA.unproject(np.array([[4 * column + 1.5, 4 * row + 1.5]]))[0]
    return int(np.linalg.norm(found.positions.numpy() - point, axis=1).argmin())


@pytest.mark.parametrize('offset', [0.0, 1e5])
def test_a_landmark_looks_in_every_frame_as_it_is_described(offset: float) -> None:
    """At its place the product of the descriptors is 2, the sum of two cosines."""
    frames = _wall(4, offset)
    found = _described(frames, offset)
    assert found.descriptors.shape == (len(CELLS), 6)
    for index, frame in enumerate(frames):
        assert _seen_in(found, frame, index).numpy() == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize('offset', [0.0, 1e5])
def test_a_landmark_knows_from_where_it_was_seen(offset: float) -> None:
    frames = _wall(4, offset)
    found = _described(frames, offset)
    column, row = CELLS[0]
    point = DEPTH_M * CAMERA.unproject(np.array([[4 * column + 1.5, 4 * row + 1.5]]))[0]
    place = _place(found, 0)
    assert found.positions[place].numpy() == pytest.approx(point, abs=1e-5)
    ways = np.array([frame.world_from_camera[:3, 3] - offset - point for frame in frames])
    lengths = np.linalg.norm(ways, axis=1)
    direction = (ways / lengths[:, None]).sum(axis=0)
    assert float(found.distances[place]) == pytest.approx(lengths.mean())
    assert found.directions[place].numpy() == pytest.approx(
        direction / np.linalg.norm(direction), abs=1e-5
    )


def test_a_frame_that_does_not_see_a_landmark_does_not_describe_it() -> None:
    """It lies under a mask there, or behind something: black here."""
    frames = _wall(5)
    black = np.zeros((CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    others = np.asarray(frames[0].landmarks)[1:]
    frames[0] = replace(frames[0], load_image=lambda: black, landmarks=others)
    alone = _seen_in(_described(frames), frames[1], 1)
    assert alone[0] > 1.99
    assert alone[1:].max() < 1.99


def test_a_frame_that_cannot_be_read_is_named_and_left_out() -> None:
    def vanished() -> np.ndarray:
        raise DataError('the file is gone')

    frames = _wall(5)
    expected = _described(frames[:4])
    frames[4] = replace(frames[4], load_image=vanished)
    said: list[str] = []
    found = _describe(frames, said.append)
    assert said == ['left out of the landmarks: frame frame 4: the file is gone']
    assert found is not None
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], tensor, rtol=0, atol=0)
    unreadable = [replace(frame, load_image=vanished) for frame in frames]
    assert _describe(unreadable, said.append) is None


def test_frames_without_landmarks_give_none() -> None:
    frames = [replace(frame, landmarks=None) for frame in _wall(5)]
    for some in ([], frames, _wall(3)):
        assert _describe(some, print) is None


def test_a_feature_that_never_varies_says_nothing() -> None:
    """Its deviation is 0: what is divided by it stays finite."""
    frames = []
    for frame in _wall(4):
        image = frame.load_image().copy()
        image[..., 2] = 77
        frames.append(replace(frame, load_image=_loader(image)))
    found = _described(frames)
    assert all(torch.isfinite(tensor).all() for tensor in found.state_dict().values())
    assert _seen_in(found, frames[2], 2).min() > 1.99
