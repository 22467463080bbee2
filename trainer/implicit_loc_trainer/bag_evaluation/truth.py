"""Where the camera really was: from a topic, from TF, or from a TUM file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets.bag_options import Recording, TfFrames
from implicit_loc_trainer.datasets.bag_poses import (
    POSE_TYPES,
    TfTree,
    camera_poses,
    choose_topic,
)
from implicit_loc_trainer.datasets.bag_reader import Bag
from implicit_loc_trainer.datasets.interpolation import PoseTrack
from implicit_loc_trainer.datasets.parsing import FloatArray, read_tum
from implicit_loc_trainer.datasets.sample import DataError

Known = NDArray[np.bool_]

FROM_TF = 'tf'


@dataclass(frozen=True)
class TruthSource:
    """Where the true poses are.

    Attributes:
        source: a topic, 'tf', or a TUM file; None = as the recording's options say, or else by
            the types of the topics.
        world: frame of 'tf' in which the camera is looked up; None = the root of its tree.
        time_offset_s: added to the stamps of the truth (and of TF), seconds.
    """

    source: str | None = None
    world: str | None = None
    time_offset_s: float = 0.0


def true_poses(
    bag: Bag,
    options: Recording,
    truth: TruthSource,
    image_frame: str,
    stamps_ns: NDArray[np.int64],
) -> tuple[FloatArray, Known]:
    """world_from_camera at the stamps of the images, interpolated.

    Args:
        bag: open.
        options: of the recording: the tracked frame, the extrinsic, the widest gap.
        truth: where the poses are.
        image_frame: the frame_id of the images.
        stamps_ns: (M,), M > 0.

    Returns:
        (M, 4, 4), and (M,) whether it is known.

    Raises:
        DataError: the source does not exist or cannot be chosen, a malformed pose, or truth
            that does not overlap with the images in time.
    """
    shifted = stamps_ns - np.int64(round(truth.time_offset_s * 1e9))
    source = truth.source
    if source is None:
        return camera_poses(bag, options, image_frame, shifted)
    if source == FROM_TF:
        camera = options.camera_frame or image_frame
        world = truth.world or _root(bag, camera, int(shifted.min()))
        frames = TfFrames(world, camera)
        return camera_poses(bag, replace(options, pose_topic=None, tf=frames), '', shifted)
    if _is_file(bag, source):
        return _poses_of_file(bag, options, Path(source), image_frame, shifted)
    return camera_poses(bag, replace(options, pose_topic=source, tf=None), image_frame, shifted)


def name_of_truth(bag: Bag, options: Recording, truth: TruthSource) -> str:
    """Where `true_poses` takes them from, for people; no message is read.

    Raises:
        DataError: the source does not exist or cannot be chosen.
    """
    source = truth.source
    if source not in (None, FROM_TF):
        _is_file(bag, source)
        return source
    if source is None and options.tf is None and (options.pose_topic or bag.topics(POSE_TYPES)):
        return choose_topic(bag, options.pose_topic, POSE_TYPES, 'pose_topic')
    return 'TF'


def _is_file(bag: Bag, source: str) -> bool:
    """Whether the truth is a file, and not a topic of poses.

    Raises:
        DataError: it is neither.
    """
    if source not in bag.types and Path(source).is_file():
        return True
    if source not in bag.types and not source.startswith('/'):
        raise DataError(f'the truth {source} is no file, and no topic: {bag.contents()}')
    bag.check_topic(source, POSE_TYPES)
    return False


def _root(bag: Bag, camera: str, origin_ns: int) -> str:
    tree = TfTree(bag, origin_ns)
    if camera not in tree or not tree.moves(camera):
        raise DataError(
            f'{bag.path}: TF does not move the camera {camera!r}: name its frame with '
            f'--camera-frame; {bag.contents()}'
        )
    return tree.root(camera)


def _poses_of_file(
    bag: Bag, options: Recording, file: Path, image_frame: str, stamps_ns: NDArray[np.int64]
) -> tuple[FloatArray, Known]:
    origin_ns = int(stamps_ns.min())
    times = (stamps_ns - origin_ns).astype(np.float64) * 1e-9
    measured, transforms = read_tum(file)
    if not len(measured):
        raise DataError(f'{file} has no poses')
    # Whole seconds first: the difference of two stamps of this century keeps its digits.
    whole, nanoseconds = divmod(origin_ns, 10**9)
    relative = (measured - whole) - nanoseconds * 1e-9
    track = PoseTrack.from_measurements(relative, transforms)
    poses, known = track.at(times, options.max_gap_s)
    if not known.any():
        raise DataError(
            f'{file} and the images do not overlap: relative to the first image the poses are '
            f'from {relative.min():.3f} to {relative.max():.3f} s, the images from 0 to '
            f'{times.max():.3f} s, and a gap between poses may be {options.max_gap_s} s; '
            '--time-offset shifts the poses'
        )
    if options.tracked_from_camera is not None:
        return poses @ options.tracked_from_camera, known
    camera = (options.camera_frame or image_frame).lstrip('/')
    tracked = (options.tracked_frame or camera).lstrip('/')
    if tracked == camera:
        return poses, known
    tree = TfTree(bag, origin_ns)
    offset, offset_known = tree.lookup(tracked, camera, times, options.max_gap_s)
    return poses @ offset, known & offset_known
