"""The evaluated images with truth, poses, TF and verdicts as a bag, for RViz and Foxglove."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_evaluation.source import BagFrames
from implicit_loc_trainer.bag_writing import new_bag
from implicit_loc_trainer.datasets.bag_reader import Bag
from implicit_loc_trainer.datasets.parsing import FloatArray
from implicit_loc_trainer.evaluation.files import deviations
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.ros_messages import (
    CAMERA_INFO_TYPE,
    DIAGNOSTICS_TYPE,
    POSE_TYPE,
    POSE_WITH_COVARIANCE_TYPE,
    TF_TYPE,
    camera_info_message,
    diagnostics_message,
    pose_message,
    pose_with_covariance_message,
    transforms_message,
)

# The topics and the frame of the node with its shipped configuration: layouts made for it fit.
_NODE = 'localization_node'
_POSE, _POSE_WITH_COVARIANCE = f'/{_NODE}/pose', f'/{_NODE}/pose_with_covariance'
_ESTIMATED_FRAME, _TRUE_FRAME = 'localized_camera', 'true_camera'
_TRUTH, _TF, _DIAGNOSTICS = '/ground_truth/pose', '/tf', '/diagnostics'
_OK, _WARN, _ERROR = 0, 1, 2


def write_result_bag(
    path: Path,
    bag_path: Path,
    source: BagFrames,
    frames: Sequence[FrameResult],
    min_confidence: float,
) -> None:
    """Writes the bag as mcap; rejected poses are in the diagnostics only, as a node has it.

    Args:
        path: folder of the bag; a bag there is replaced.
        bag_path: the bag that was evaluated.
        source: its images.
        frames: what became of them.
        min_confidence: that of an accepted pose at least.

    Raises:
        ImplicitLocError: the bag is damaged, or something else is at the path.
        OSError: the disk is full, or the folder cannot be written.
    """
    bag = Bag(bag_path)
    image_type = bag.types[source.image_topic]
    types = {
        source.image_topic: image_type,
        _camera_info_topic(source.image_topic): CAMERA_INFO_TYPE,
        _TRUTH: POSE_TYPE,
        _POSE: POSE_TYPE,
        _POSE_WITH_COVARIANCE: POSE_WITH_COVARIANCE_TYPE,
        _TF: TF_TYPE,
        _DIAGNOSTICS: DIAGNOSTICS_TYPE,
    }
    results = {frame.name: frame for frame in frames}
    try:
        with new_bag(path, types, compressed=True) as (writer, topics):
            for name, received_ns, image in _images(bag, source.image_topic):
                if name not in results:
                    continue
                writer.write(topics[source.image_topic], received_ns, image)
                answers = _answers(source, results[name], min_confidence)
                for topic, data in answers.items():
                    writer.write(topics[topic], received_ns, data)
    finally:
        bag.close()


def _images(bag: Bag, topic: str) -> Iterator[tuple[str, int, bytes]]:
    """Name of the frame, time of receipt and CDR bytes of every image."""
    for number, (received_ns, raw) in enumerate(bag.raw_messages(topic)):
        yield f'{number:06d}', received_ns, raw


def _answers(source: BagFrames, frame: FrameResult, min_confidence: float) -> dict[str, bytes]:
    image = source.messages[frame.name]
    stamp = image.stamp_ns
    children: dict[str, FloatArray] = {_TRUE_FRAME: frame.true_pose}
    answers = {
        _camera_info_topic(source.image_topic): camera_info_message(
            stamp, source.camera, image.frame_id
        ),
        _TRUTH: pose_message(stamp, frame.true_pose),
        _DIAGNOSTICS: _diagnostics(stamp, frame, min_confidence),
    }
    pose, covariance = frame.estimated_pose, frame.covariance
    if pose is not None and covariance is not None and not rejection(frame, min_confidence):
        children[_ESTIMATED_FRAME] = pose
        answers[_POSE] = pose_message(stamp, pose)
        answers[_POSE_WITH_COVARIANCE] = pose_with_covariance_message(stamp, pose, covariance)
    return {**answers, _TF: transforms_message(stamp, children)}


def _diagnostics(stamp: int, frame: FrameResult, min_confidence: float) -> bytes:
    reason = rejection(frame, min_confidence)
    values = {
        'frame': frame.name,
        'rejected because': reason or '-',
        'confidence': _text(frame.confidence, 3),
        'position error (m)': _text(frame.translation_error_m, 4),
        'rotation error (deg)': _text(frame.rotation_error_deg, 3),
        **{name.replace('_', ' '): _text(value, 4) for name, value in deviations(frame).items()},
        'latency (ms)': _text(1000.0 * frame.timings['total'] if frame.timings else None, 1),
    }
    level = _OK if not reason else _WARN if frame.estimated_pose is not None else _ERROR
    text = frame.lost_reason or (f'rejected: {reason}' if reason else 'localized')
    return diagnostics_message(stamp, f'{_NODE}: evaluation', level, text, values)


def _camera_info_topic(image_topic: str) -> str:
    """Beside the images, where every viewer looks for it."""
    return image_topic.removesuffix('/compressed').rpartition('/')[0] + '/camera_info'


def _text(value: float | None, digits: int) -> str:
    return '-' if value is None or not math.isfinite(value) else f'{np.round(value, digits):g}'
