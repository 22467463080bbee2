"""The recording as it was played, with what the node answered: for RViz, Foxglove and evo."""

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

from bag_player.recording import Recording
from bag_player.stamps import shifted
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo, Image

from implicit_loc_trainer.bag_writing import new_bag
from replay.collector import Arrival
from replay.playback import ANSWERS
from replay.recording import (
    CAMERA_INFO_TOPIC,
    IMAGE_TOPIC,
    RECORDED_TOPICS,
    TRUTH_TOPIC,
)

_CLASSES = {CAMERA_INFO_TOPIC: CameraInfo, TRUTH_TOPIC: PoseStamped, IMAGE_TOPIC: Image}


def write_answered(path: Path, played: Path, arrivals: Sequence[Arrival], offset: int) -> None:
    """Write images, camera, true poses, poses and TF as an mcap bag in the time of the playing.

    Args:
        path: folder of the bag; a bag there is replaced.
        played: the recording that was played.
        arrivals: what came back.
        offset: from its stamps to those as played, nanoseconds.

    Raises:
        BagError: the recording is damaged.
        OSError: the disk is full, or the folder cannot be written.
    """
    answers = [arrival for arrival in arrivals if arrival.topic in ANSWERS]
    with (
        new_bag(path, {**RECORDED_TOPICS, **ANSWERS}, compressed=True) as (writer, topics),
        Recording(played) as recording,
    ):
        messages = heapq.merge(
            _as_played(recording, offset), answers, key=lambda arrival: arrival.time
        )
        for message in messages:
            writer.write(topics[message.topic], message.time, message.data)


def _as_played(recording: Recording, offset: int) -> Iterator[Arrival]:
    for message in recording.messages(set(RECORDED_TOPICS)):
        data = shifted(message.data, _CLASSES[message.topic], lambda stamp: stamp + offset)
        yield Arrival(message.topic, message.stamp + offset, data)
