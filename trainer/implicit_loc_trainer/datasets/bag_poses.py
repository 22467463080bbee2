"""Where the camera of a bag was: from messages with poses, or from TF."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicit_loc_trainer.datasets.bag_options import Recording
from implicit_loc_trainer.datasets.bag_reader import Bag
from implicit_loc_trainer.datasets.interpolation import PoseTrack
from implicit_loc_trainer.datasets.parsing import FloatArray, inverse, rigid_from_quaternion
from implicit_loc_trainer.datasets.sample import DataError

TF = 'tf2_msgs/msg/TFMessage'
_POSE = 'geometry_msgs/msg/PoseStamped'
_POSE_WITH_COVARIANCE = 'geometry_msgs/msg/PoseWithCovarianceStamped'
_TRANSFORM = 'geometry_msgs/msg/TransformStamped'
_ODOMETRY = 'nav_msgs/msg/Odometry'
POSE_TYPES = (_POSE, _POSE_WITH_COVARIANCE, _TRANSFORM, _ODOMETRY)

# What chooses a topic on the command line.
_FLAGS = {
    'image_topic': '--image-topic',
    'camera_info_topic': '--camera-info-topic',
    'pose_topic': '--truth',
}

Known = NDArray[np.bool_]


@dataclass(frozen=True)
class _Edge:
    """How a frame moves in its parent; one transform at time 0 if it does not."""

    parent: str
    track: PoseTrack
    is_static: bool


class TfTree:
    """All that a bag's TF says.

    Args:
        bag: open.
        origin_ns: the stamp that counts as 0 s.

    Raises:
        DataError: a frame has two parents, or a transform is malformed.
    """

    def __init__(self, bag: Bag, origin_ns: int) -> None:
        self._bag = bag
        parents: dict[str, tuple[str, bool]] = {}
        measured: dict[str, tuple[list[float], list[FloatArray]]] = {}
        for topic in bag.topics((TF,)):
            is_static = topic.endswith('tf_static')
            for message in bag.messages(topic):
                for item in message.transforms:
                    child, parent = _frame(item.child_frame_id), _frame(item.header.frame_id)
                    if parents.setdefault(child, (parent, is_static))[0] != parent:
                        raise DataError(
                            f'{bag.path}: {topic} gives the frame {child} two parents, '
                            f'{parents[child][0]} and {parent}'
                        )
                    times, transforms = measured.setdefault(child, ([], []))
                    times.append((_nanoseconds(item) - origin_ns) * 1e-9)
                    place = f'{bag.path}: {topic}: {child} in {parent}'
                    transforms.append(_matrix(place, item.transform))
        self._edges = {
            child: _Edge(
                parents[child][0], PoseTrack.from_measurements(*values), parents[child][1]
            )
            for child, values in measured.items()
        }

    def __contains__(self, frame: str) -> bool:
        return frame in self._edges or any(frame == edge.parent for edge in self._edges.values())

    def root(self, frame: str) -> str:
        """The frame above all others from here."""
        return self._ancestors(frame)[-1]

    def moves(self, frame: str) -> bool:
        """Whether any frame from here up to the root moves."""
        chain = self._ancestors(frame)[:-1]
        return any(not self._edges[name].is_static for name in chain)

    def lookup(
        self, target: str, source: str, times: FloatArray, max_gap_s: float
    ) -> tuple[FloatArray, Known]:
        """target_from_source at some times, (M, 4, 4), and whether it is known, (M,).

        Raises:
            DataError: the frames are not connected; lists the frames.
        """
        target_chain, source_chain = self._ancestors(target), self._ancestors(source)
        common = next((frame for frame in source_chain if frame in target_chain), None)
        if common is None:
            frames = sorted({*self._edges, *(edge.parent for edge in self._edges.values())})
            raise DataError(
                f'{self._bag.path}: TF does not connect {target} and {source}; '
                f'its frames are {", ".join(frames) or "none"}'
            )
        from_target, target_known = self._up_to(common, target_chain, times, max_gap_s)
        from_source, source_known = self._up_to(common, source_chain, times, max_gap_s)
        return inverse(from_target) @ from_source, target_known & source_known

    def _up_to(
        self, ancestor: str, chain: list[str], times: FloatArray, max_gap_s: float
    ) -> tuple[FloatArray, Known]:
        """ancestor_from_frame for the first frame of a chain."""
        result = np.tile(np.eye(4), (len(times), 1, 1))
        known: Known = np.ones(len(times), dtype=bool)
        for frame in chain[: chain.index(ancestor)]:
            edge = self._edges[frame]
            if edge.is_static:
                result = edge.track.transforms[-1] @ result
                continue
            transforms, edge_known = edge.track.at(times, max_gap_s)
            result, known = transforms @ result, known & edge_known
        return result, known

    def _ancestors(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._edges:
            parent = self._edges[chain[-1]].parent
            if parent in chain:
                raise DataError(f'{self._bag.path}: TF has a loop at the frame {parent}')
            chain.append(parent)
        return chain


def camera_poses(
    bag: Bag, options: Recording, image_frame: str, stamps_ns: NDArray[np.int64]
) -> tuple[FloatArray, Known]:
    """world_from_camera at the stamps of the images.

    Args:
        bag: open.
        options: of the recording.
        image_frame: the frame_id of the images.
        stamps_ns: (M,).

    Returns:
        (M, 4, 4), and (M,) whether it is known.

    Raises:
        DataError: a topic or frame is missing or cannot be chosen, a malformed pose, or poses
            that do not overlap with the images in time.
    """
    origin_ns = int(stamps_ns.min())
    times = (stamps_ns - origin_ns).astype(np.float64) * 1e-9
    camera = _frame(options.camera_frame or image_frame)
    if options.tf is not None:
        bag_tree = TfTree(bag, origin_ns)
        world, camera = _frame(options.tf.world), _frame(options.tf.camera)
        poses, known = bag_tree.lookup(world, camera, times, options.max_gap_s)
        what = f'TF from {world} to {camera}'
    elif options.pose_topic is None and not bag.topics(POSE_TYPES):
        bag_tree = TfTree(bag, origin_ns)
        if camera not in bag_tree or not bag_tree.moves(camera):
            raise DataError(
                f'{bag.path} has no poses: no topic of {", ".join(POSE_TYPES)}, and TF does not '
                f'move the camera {camera!r}: {bag.contents()}'
            )
        world = bag_tree.root(camera)
        poses, known = bag_tree.lookup(world, camera, times, options.max_gap_s)
        what = f'TF from {world} to {camera}'
    else:
        topic = choose_topic(bag, options.pose_topic, POSE_TYPES, 'pose_topic')
        poses, known = _poses_of_topic(bag, options, topic, camera, times, origin_ns)
        what = f'the topic {topic}'
    if not known.any():
        raise DataError(
            f'{bag.path}: no image has a pose from {what}: within the {times.max():.3f} s of the '
            f'images, from stamp {origin_ns * 1e-9:.3f} s on, no two poses are less than '
            f'{options.max_gap_s} s apart around an image'
        )
    return poses, known


def choose_topic(bag: Bag, given: str | None, types: tuple[str, ...], option: str) -> str:
    """The topic that was named, or else the only one of these types.

    Raises:
        DataError: it is not there, of another type, or not the only one.
    """
    if given is not None:
        bag.check_topic(given, types)
        return given
    topics = bag.topics(types)
    if not topics:
        raise DataError(f'{bag.path} has no topic of {" or ".join(types)}: {bag.contents()}')
    if len(topics) > 1:
        raise DataError(
            f'{bag.path} has several topics of {" or ".join(types)}: {", ".join(topics)}; '
            f'name one as {option} in a recording.yaml, or with {_FLAGS[option]} of evaluate-bag'
        )
    return topics[0]


def _poses_of_topic(
    bag: Bag, options: Recording, topic: str, camera: str, times: FloatArray, origin_ns: int
) -> tuple[FloatArray, Known]:
    stamps, transforms, worlds, tracked = [], [], set(), set()
    for number, message in enumerate(bag.messages(topic)):
        stamps.append((_nanoseconds(message) - origin_ns) * 1e-9)
        transforms.append(_matrix(f'{bag.path}: {topic}: message {number}', _pose(message)))
        worlds.add(_frame(message.header.frame_id))
        tracked.add(_frame(getattr(message, 'child_frame_id', '')))
    if not stamps:
        raise DataError(f'{bag.path}: the topic {topic} has no messages')
    if len(worlds) > 1:
        raise DataError(f'{bag.path}: {topic} has poses in several worlds: {sorted(worlds)}')
    poses, known = PoseTrack.from_measurements(stamps, transforms).at(times, options.max_gap_s)
    if not known.any():
        raise DataError(
            f'{bag.path}: {topic} and the images do not overlap: relative to the first image the '
            f'poses are from {min(stamps):.3f} to {max(stamps):.3f} s, the images from 0 to '
            f'{times.max():.3f} s, and a gap between poses may be {options.max_gap_s} s'
        )
    if options.tracked_from_camera is not None:
        return poses @ options.tracked_from_camera, known
    frame = _frame(options.tracked_frame or sorted(tracked)[0])
    tree = TfTree(bag, origin_ns)
    if not frame and camera in tree:
        raise DataError(
            f'{bag.path}: {topic} does not say whose pose it gives, and TF holds more than the '
            f'camera {camera!r}: name it as tracked_frame in a recording.yaml, or with '
            '--truth-frame of evaluate-bag'
        )
    if frame in ('', camera):
        return poses, known
    offset, offset_known = tree.lookup(frame, camera, times, options.max_gap_s)
    return poses @ offset, known & offset_known


def _pose(message: Any) -> Any:
    """The Pose or Transform of a message of POSE_TYPES."""
    if hasattr(message, 'transform'):
        return message.transform
    inner = message.pose
    return inner.pose if hasattr(inner, 'covariance') else inner


def _matrix(place: str, pose: Any) -> FloatArray:
    position = pose.translation if hasattr(pose, 'translation') else pose.position
    rotation = pose.rotation if hasattr(pose, 'rotation') else pose.orientation
    return rigid_from_quaternion(
        place,
        (position.x, position.y, position.z),
        (rotation.x, rotation.y, rotation.z, rotation.w),
    )


def _nanoseconds(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _frame(name: str) -> str:
    return name.lstrip('/')
