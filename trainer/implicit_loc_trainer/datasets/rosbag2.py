"""Bags of ROS 2, mcap or sqlite3, given as they are or through a recording.yaml.

A path is the bag (its folder, or the .mcap or .db3 file), a recording.yaml, or a folder with one.
Without options the topics are found by their types; images become frames where the camera's pose
is known, thinned to keyframes. Images are decoded when they are loaded.
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets.bag_camera import find_camera, find_image_topic
from implicit_loc_trainer.datasets.bag_images import RAW, load_bag_depth, load_bag_image
from implicit_loc_trainer.datasets.bag_options import (
    METADATA_FILE,
    STORAGE_SUFFIXES,
    Recording,
    find_options,
    read_recording,
)
from implicit_loc_trainer.datasets.bag_poses import camera_poses
from implicit_loc_trainer.datasets.bag_reader import Bag, StampedKey
from implicit_loc_trainer.datasets.bag_storage import storage_files
from implicit_loc_trainer.datasets.images import find_extras
from implicit_loc_trainer.datasets.interpolation import keyframes
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.datasets.splits import check_split, has_lists, split_samples

# Depth and colour of one camera carry nearly the same stamp.
_DEPTH_DIFFERENCE_NS = 20_000_000

_logger = logging.getLogger(__name__)


def matches(path: Path) -> bool:
    """Whether a path is a bag or the options of one."""
    if path.is_file() and path.suffix in STORAGE_SUFFIXES:
        return True
    return (
        find_options(path) is not None
        or (path / METADATA_FILE).is_file()
        or bool(storage_files(path))
    )


def read(path: Path, split: str | Path) -> list[Sample]:
    """The keyframes of a split.

    Args:
        path: The bag, a recording.yaml, or the folder of one.
        split: 'train', 'test', or a text file of names: the image's number in its topic,
            six digits.

    Raises:
        DataError: a damaged bag, a topic that is missing (lists what there is), of an unknown
            type or not the only one, a malformed pose, poses and images that do not overlap in
            time, an image of another size or an unknown encoding.
    """
    check_split(path, split)
    options = read_recording(path)
    bag = Bag(options.bag)
    try:
        samples = _samples(bag, options)
    finally:
        bag.close()
    # Lists say what they want: nothing is taken away from them.
    if not isinstance(split, Path) and not has_lists(options.root):
        kept = keyframes(
            [sample.world_from_camera for sample in samples],
            options.keyframe_distance_m,
            options.keyframe_angle_deg,
        )
        samples = [samples[index] for index in kept]
    return split_samples(options.root, samples, split, options.blocks, options.test_every)


def _samples(bag: Bag, options: Recording) -> list[Sample]:
    """A sample for each image whose pose is known, in the order of time."""
    topic = find_image_topic(bag, options)
    images = list(enumerate(bag.headers(topic)))
    if not images:
        raise DataError(f'{bag.path}: the topic {topic} has no messages')
    images.sort(key=lambda numbered: numbered[1].stamp_ns)
    camera = find_camera(bag, options, topic)
    # Decoding one finds an unknown encoding and a wrong size before training.
    load_bag_image(images[0][1].key, camera)
    stamps_ns = np.array([image.stamp_ns for _, image in images], dtype=np.int64)
    poses, known = camera_poses(bag, options, images[0][1].frame_id, stamps_ns)
    if not known.all():
        missing = int((~known).sum())
        _logger.warning('%s: %d of %d images have no pose', bag.path, missing, len(images))
    depth = _associate_depth(bag, options, stamps_ns)
    return [
        _sample(options, number, image, camera, poses[index], int(stamps_ns[0]), depth.get(index))
        for index, (number, image) in enumerate(images)
        if known[index]
    ]


def _sample(
    options: Recording,
    number: int,
    image: StampedKey,
    camera: Camera,
    world_from_camera: FloatArray,
    origin_ns: int,
    depth: StampedKey | None,
) -> Sample:
    name = f'{number:06d}'
    extras = find_extras(options.root, name, camera)
    return Sample(
        name=name,
        camera=camera,
        world_from_camera=world_from_camera,
        timestamp=(image.stamp_ns - origin_ns) * 1e-9,
        load_image=partial(load_bag_image, image.key, camera),
        load_depth=partial(load_bag_depth, depth.key) if depth else extras.load_depth,
        load_mask=extras.load_mask,
    )


def _associate_depth(
    bag: Bag, options: Recording, stamps_ns: NDArray[np.int64]
) -> dict[int, StampedKey]:
    """The depth image nearest to each stamp, by index, where one is near enough."""
    if options.depth_topic is None:
        return {}
    bag.check_topic(options.depth_topic, (RAW,))
    depth = list(bag.headers(options.depth_topic))
    found: dict[int, StampedKey] = {}
    if not depth:
        return found
    depth_ns = np.array([item.stamp_ns for item in depth], dtype=np.int64)
    for index, stamp_ns in enumerate(stamps_ns):
        nearest = int(np.abs(depth_ns - stamp_ns).argmin())
        if abs(int(depth_ns[nearest] - stamp_ns)) <= _DEPTH_DIFFERENCE_NS:
            found[index] = depth[nearest]
    return found
