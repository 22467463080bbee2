"""Posed images as a rosbag2 recording, made once and used again while it is the same."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader, ReaderError

from implicit_loc_trainer.bag_writing import new_bag
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.ros_messages import (
    CAMERA_INFO_TYPE,
    IMAGE_TYPE,
    POSE_TYPE,
    camera_info_message,
    image_message,
    pose_message,
)

IMAGE_TOPIC = '/image'
CAMERA_INFO_TOPIC = '/camera_info'
TRUTH_TOPIC = '/ground_truth/pose'
RECORDED_TOPICS = {
    CAMERA_INFO_TOPIC: CAMERA_INFO_TYPE,
    TRUTH_TOPIC: POSE_TYPE,
    IMAGE_TOPIC: IMAGE_TYPE,
}

# Any date will do, as long as no stamp is zero: that means "no stamp".
START_NS = 1_700_000_000 * 10**9
FINGERPRINT_FILE = 'fingerprint.txt'
# Raise it when recordings of the same samples change.
LAYOUT = '1'


@dataclass(frozen=True)
class Frame:
    """One recorded image.

    Attributes:
        name: of its sample.
        stamp: nanoseconds, as recorded.
        world_from_camera: its true pose, (4, 4), metres.
    """

    name: str
    stamp: int
    world_from_camera: NDArray[np.float64]


def frames_at(samples: Sequence[Sample], rate_hz: float) -> list[Frame]:
    """The samples at a steady rate, whatever the rate at which they were taken."""
    return [
        Frame(sample.name, START_NS + round(index * 1e9 / rate_hz), sample.world_from_camera)
        for index, sample in enumerate(samples)
    ]


def fingerprint(samples: Sequence[Sample], rate_hz: float) -> str:
    """Hash of what a recording depends on; of the images, three stand for all."""
    digest = hashlib.sha256(f'{LAYOUT} {rate_hz!r}'.encode())
    for sample in samples:
        digest.update(f'{sample.name} {sample.camera!r}'.encode())
        digest.update(np.ascontiguousarray(sample.world_from_camera).tobytes())
    for index in sorted({0, len(samples) // 2, len(samples) - 1}):
        digest.update(np.ascontiguousarray(samples[index].load_image()).tobytes())
    return digest.hexdigest()


def is_recorded(path: Path, wanted_fingerprint: str) -> bool:
    """Whether a whole recording with this fingerprint is at the path."""
    try:
        with Reader(path):
            return (path / FINGERPRINT_FILE).read_text() == wanted_fingerprint
    except (ReaderError, OSError, ValueError, AssertionError, struct.error):
        # Missing, damaged or foreign: it is made anew.
        return False


def record(path: Path, samples: Iterable[Sample], frames: Iterable[Frame], mark: str) -> None:
    """Write samples as Image, CameraInfo and true PoseStamped; replaces what is at the path.

    Args:
        path: folder of the bag.
        samples: the images.
        frames: their stamps, one each.
        mark: fingerprint to be found by `is_recorded`.

    Raises:
        ImplicitLocError: an image cannot be read.
        OSError: the disk is full, or the folder cannot be written.
    """
    with new_bag(path, RECORDED_TOPICS, notes={FINGERPRINT_FILE: mark}) as (writer, topics):
        for sample, frame in zip(samples, frames, strict=True):
            contents = {
                CAMERA_INFO_TOPIC: camera_info_message(frame.stamp, sample.camera),
                TRUTH_TOPIC: pose_message(frame.stamp, sample.world_from_camera),
                IMAGE_TOPIC: image_message(frame.stamp, sample.load_image()),
            }
            for topic, data in contents.items():
                writer.write(topics[topic], frame.stamp, data)
