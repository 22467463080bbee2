"""A short flight through the demo room, and copies of it that are broken in one way each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_trainer.check.checking import Report, check
from implicit_loc_trainer.check.recording import Recording
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.demo_room import demo_room
from implicit_loc_trainer.demo_room.flights import gaze

FloatArray = NDArray[np.float64]

CAMERA = Camera(width=240, height=180, fx=197.0, fy=197.0, cx=119.5, cy=89.5)
FRAMES = 48
RATE = 10.0
# The body frame of ROS: x forward, y left, z up.
BODY_FROM_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def flight(later: int = 0) -> FloatArray:
    """World-from-camera of a hand-held camera, (FRAMES, 4, 4), some frames later."""
    a = (np.arange(FRAMES) + later) * 2.0 / (FRAMES - 1)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    yaw = 2.6 + 0.35 * np.sin(2.1 * a) + 0.1 * np.sin(7.0 * a)
    pitch = -0.1 + 0.1 * np.sin(4.0 * a + 1.0)
    poses[:, :3, :3] = gaze(yaw, pitch, 0.12 * np.sin(5.0 * a))
    poses[:, 0, 3] = 1.3 - 0.5 * a + 0.1 * np.sin(6.0 * a)
    poses[:, 1, 3] = -1.0 + 0.35 * np.sin(3.0 * a)
    poses[:, 2, 3] = 1.4 + 0.15 * np.sin(4.0 * a + 0.5)
    return poses


@lru_cache(maxsize=256)
def rendered(index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Image and depth of a frame."""
    return demo_room().render(flight()[index], CAMERA, index)


def sample(index: int, pose: FloatArray, with_depth: bool = False) -> Sample:
    """One frame with any pose."""
    return Sample(
        name=f'{index:04d}',
        camera=CAMERA,
        world_from_camera=pose,
        timestamp=index / RATE,
        load_image=lambda: rendered(index)[0],
        load_depth=(lambda: rendered(index)[1]) if with_depth else None,
    )


def samples(with_depth: bool = False) -> list[Sample]:
    """The flight as it is."""
    return [sample(index, pose, with_depth) for index, pose in enumerate(flight())]


@lru_cache(maxsize=1)
def intact() -> Report:
    """The report about the flight as it is; its recording keeps features and matches."""
    return check(Recording.of({'train': samples(with_depth=True)}))


def check_labels(
    frames: Sequence[Sample], camera: Camera = CAMERA, training: int = FRAMES
) -> Report:
    """Checks frames with the same images: their features and matches are known already.

    Args:
        frames: in the order of the flight.
        camera: of all frames.
        training: from this frame on they are the test split.
    """
    frames = [replace(frame, camera=camera) for frame in frames]
    splits = {'train': frames[:training], 'test': frames[training:]}
    recording = Recording.of({name: split for name, split in splits.items() if split})
    known = intact().recording
    recording.facts = dict(known.facts)
    recording.features = dict(known.features)
    recording.matches = dict(known.matches)
    return check(recording)


def check_poses(poses: FloatArray, camera: Camera = CAMERA, with_depth: bool = False) -> Report:
    """Checks the flight with other poses, in order."""
    frames = [sample(index, pose, with_depth) for index, pose in enumerate(poses)]
    return check_labels(frames, camera)


def check_seen_through(lens: Camera) -> Report:
    """Checks the flight, seen through another lens than its camera says."""

    def bent(pixels: FloatArray) -> FloatArray:
        return lens.project(CAMERA.unproject(pixels))

    recording, known = Recording.of({'train': samples()}), intact().recording
    recording.facts = dict(known.facts)
    recording.features = {
        frame: replace(features, pixels=bent(features.pixels))
        for frame, features in known.features.items()
    }
    recording.matches = {
        pair: found
        and replace(
            found, first_pixels=bent(found.first_pixels), second_pixels=bent(found.second_pixels)
        )
        for pair, found in known.matches.items()
    }
    return check(recording)


def turning(count: int = 8) -> list[Sample]:
    """The first view of the flight from a camera that turns in its place."""
    image, _ = rendered(0)
    frames = []
    for index, angle in enumerate(np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)):
        degrees = 6.0 * np.sin(angle), 4.0 * np.cos(angle)
        turn = Rotation.from_euler('yx', degrees, degrees=True).as_matrix()
        homography = CAMERA.matrix @ turn.T @ np.linalg.inv(CAMERA.matrix)
        view = cv2.warpPerspective(
            image, homography, (CAMERA.width, CAMERA.height), borderMode=cv2.BORDER_REFLECT_101
        )
        pose = with_rotations(flight()[:1], flight()[:1, :3, :3] @ turn)[0]
        frames.append(
            replace(sample(index, pose), load_image=lambda view=view: np.asarray(view, np.uint8))
        )
    return frames


def check_images(change: Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]]) -> Report:
    """Checks the flight with other images."""
    frames = [
        replace(one, load_image=lambda index=index: change(index, rendered(index)[0]))
        for index, one in enumerate(samples())
    ]
    return check(Recording.of({'train': frames}))


def with_rotations(poses: FloatArray, rotations: FloatArray) -> FloatArray:
    """The same positions with other rotations."""
    changed = poses.copy()
    changed[:, :3, :3] = rotations
    return changed


def reordered(poses: FloatArray, order: Sequence[int]) -> FloatArray:
    """Rotations whose quaternions were read in a wrong order."""
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()[:, list(order)]
    return with_rotations(poses, Rotation.from_quat(quaternions).as_matrix())


def codes(report: Report) -> dict[str, str]:
    """Grades by code."""
    return {finding.code: finding.grade.value for finding in report.findings}


def message(report: Report, code: str) -> str:
    """What a finding says."""
    return next(finding.message for finding in report.findings if finding.code == code)


REDKITCHEN = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'redkitchen'
