"""The images of a bag that are evaluated, each with its camera and its true pose."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from implicit_loc.camera import Camera
from implicit_loc_trainer.bag_evaluation.truth import TruthSource, name_of_truth, true_poses
from implicit_loc_trainer.datasets.bag_camera import find_camera, find_image_topic
from implicit_loc_trainer.datasets.bag_images import load_bag_image
from implicit_loc_trainer.datasets.bag_options import Recording
from implicit_loc_trainer.datasets.bag_reader import Bag, StampedKey
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.datasets.sample import DataError, Sample


@dataclass(frozen=True)
class Selection:
    """Which images are evaluated.

    Attributes:
        start_s: seconds after the first image from which on they count.
        duration_s: seconds from there; infinite = to the end.
        every: of so many images one.
    """

    start_s: float = 0.0
    duration_s: float = math.inf
    every: int = 1


@dataclass(frozen=True)
class BagFrames:
    """What a bag gives to evaluate; images are read when they are needed.

    Attributes:
        image_topic: of the images.
        truth: where the true poses are from, for people.
        camera: that took them.
        samples: images whose true pose is known, in the order of their stamps; their timestamps
            are seconds from the bag's first image.
        messages: where each image is found and what its header says, by the sample's name.
        images: how many images the topic has.
        without_stamp: how many of them carry no stamp, and are left out.
        without_truth: how many images were chosen, but have no true pose.
        out_of_order: how many images carry an older stamp than the one before them.
    """

    image_topic: str
    truth: str
    camera: Camera
    samples: list[Sample]
    messages: Mapping[str, StampedKey]
    images: int
    without_stamp: int
    without_truth: int
    out_of_order: int


def open_frames(options: Recording, selection: Selection, truth: TruthSource) -> BagFrames:
    """Reads headers, camera and true poses of a bag, and no image.

    Raises:
        DataError: a damaged bag, a topic that is missing (lists what there is), of an unknown
            type or not the only one, a selection without images, truth that does not overlap
            with them.
    """
    bag = Bag(options.bag)
    try:
        return _open_frames(bag, options, selection, truth)
    finally:
        bag.close()


def _open_frames(
    bag: Bag, options: Recording, selection: Selection, truth: TruthSource
) -> BagFrames:
    # What cannot be chosen is told before a bag of many gigabytes is read.
    topic = find_image_topic(bag, options)
    camera = find_camera(bag, options, topic)
    truth_name = name_of_truth(bag, options, truth)
    numbered = list(enumerate(bag.headers(topic)))
    if not numbered:
        raise DataError(f'{bag.path}: the topic {topic} has no messages')
    # In ROS, zero means that there is no stamp.
    stamped = [(number, image) for number, image in numbered if image.stamp_ns]
    if not stamped:
        raise DataError(
            f'{bag.path}: the images of {topic} carry no stamps (all are zero): no truth can be '
            'found for them; have the driver stamp them'
        )
    unstamped, numbered = len(numbered) - len(stamped), stamped
    received = [image.stamp_ns for _, image in numbered]
    numbered.sort(key=lambda item: item[1].stamp_ns)
    origin_ns = numbered[0][1].stamp_ns
    chosen = _select(bag, topic, numbered, selection)
    stamps_ns = np.array([image.stamp_ns for _, image in chosen], dtype=np.int64)
    poses, known = true_poses(bag, options, truth, chosen[0][1].frame_id, stamps_ns)
    posed = [(item, poses[index]) for index, item in enumerate(chosen) if known[index]]
    return BagFrames(
        image_topic=topic,
        truth=truth_name,
        camera=camera,
        samples=[
            _sample(number, image, camera, pose, origin_ns) for (number, image), pose in posed
        ],
        messages={_name(number): image for (number, image), _ in posed},
        images=len(numbered) + unstamped,
        without_stamp=unstamped,
        without_truth=int((~known).sum()),
        out_of_order=int((np.diff(received) < 0).sum()),
    )


def _select(
    bag: Bag, topic: str, images: list[tuple[int, StampedKey]], selection: Selection
) -> list[tuple[int, StampedKey]]:
    """The images from the start on, for the duration, one of every so many."""
    first_ns, last_ns = images[0][1].stamp_ns, images[-1][1].stamp_ns
    within = [
        item
        for item in images
        if 0.0 <= (item[1].stamp_ns - first_ns) * 1e-9 - selection.start_s <= selection.duration_s
    ]
    if not within:
        raise DataError(
            f'{bag.path}: no image of {topic} is from {selection.start_s:g} s on within '
            f'{selection.duration_s:g} s: the images span {(last_ns - first_ns) * 1e-9:.3f} s'
        )
    return within[:: selection.every]


def _sample(
    number: int, image: StampedKey, camera: Camera, pose: FloatArray, origin_ns: int
) -> Sample:
    return Sample(
        name=_name(number),
        camera=camera,
        world_from_camera=pose,
        timestamp=(image.stamp_ns - origin_ns) * 1e-9,
        load_image=partial(load_bag_image, image.key, camera),
    )


def _name(number: int) -> str:
    return f'{number:06d}'
