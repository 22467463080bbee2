"""What the worker does with one image: decode, localize, gate, publish."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from implicit_loc.camera import Camera
from implicit_loc.errors import (
    AlignmentError,
    CameraError,
    ImageError,
    ImplicitLocError,
)
from implicit_loc.localizer import Localizer
from implicit_loc_ros.conversions import (
    camera_from_info,
    image_from_compressed_message,
    image_from_message,
)
from implicit_loc_ros.diagnostics import Statistics
from implicit_loc_ros.frames import Frames, PublishedPose, TransformError
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.stamps import StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.transforms import check_pose, stamp_to_nanoseconds

# Names of the counters on /diagnostics.
REASONS: dict[type[ImplicitLocError], str] = {
    ImageError: 'image',
    CameraError: 'camera',
    AlignmentError: 'alignment',
    TransformError: 'transform',
}


@dataclass(frozen=True)
class Frame:
    """One image with the newest CameraInfo, in the epoch in which it arrived."""

    message: Image | CompressedImage
    camera_info: CameraInfo
    epoch: int


@dataclass(frozen=True)
class Answer:
    """The pose of one image."""

    pose: PublishedPose
    confidence: float
    timings: dict[str, float]


class Pipeline:
    """Turns frames into published poses; every failure is counted and logged, none raised.

    Args:
        localizer: used by this pipeline only.
        frames: of the robot.
        gate: keeps stamps in order.
        statistics: gets every outcome.
        log: for refused images.
        parameters: the current ones.
        publish: sends the pose of an image with this stamp.
        now: the node's clock, nanoseconds.
    """

    def __init__(
        self,
        localizer: Localizer,
        frames: Frames,
        gate: StampGate,
        statistics: Statistics,
        log: ThrottledLog,
        parameters: Callable[[], Parameters],
        publish: Callable[[Image | CompressedImage, PublishedPose], None],
        now: Callable[[], int],
    ) -> None:
        self._localizer = localizer
        self._frames = frames
        self._gate = gate
        self._statistics = statistics
        self._log = log
        self._parameters = parameters
        self._publish = publish
        self._now = now

    def warm_up(self) -> None:
        """Let the calling thread run the network, before the first image needs it.

        Handles of cuDNN and cuBLAS, caches of oneDNN and the threads of OpenMP belong to the
        thread that uses them: the warm-up of another thread leaves this one cold.
        """
        try:
            self._localizer.warm_up()
        except Exception:  # noqa: BLE001  the images will tell whether this lasts
            self._log.warning('warm-up', f'the warm-up failed: {traceback.format_exc()}')

    def process(self, frame: Frame) -> None:
        """Answer one image, or say why not."""
        try:
            answer = self._answer(frame)
            self._gate_and_publish(frame, answer)
        except ImplicitLocError as error:
            self._refuse(REASONS.get(type(error), 'other'), str(error))
        except Exception as error:  # noqa: BLE001  the robot needs the next image's pose
            self._refuse('defect', f'{type(error).__name__}: {error}', traceback.format_exc())

    def _answer(self, frame: Frame) -> Answer:
        start = time.perf_counter()
        image, camera = self._decode(frame)
        decoded = time.perf_counter()
        estimate = self._localizer.localize(image, camera)
        check_pose(estimate.world_from_camera, estimate.covariance)
        localized = time.perf_counter()
        header = frame.message.header
        pose = self._frames.publishable(
            estimate.world_from_camera,
            estimate.covariance,
            header.frame_id,
            stamp_to_nanoseconds(header.stamp),
        )
        check_pose(pose.map_from_body, pose.covariance)
        timings = {
            'decoding': decoded - start,
            **estimate.timings,
            'transform': time.perf_counter() - localized,
        }
        return Answer(pose, estimate.confidence, timings)

    def _decode(self, frame: Frame) -> tuple[NDArray[np.uint8], Camera]:
        message = frame.message
        camera = camera_from_info(frame.camera_info, self._parameters().image_rectified)
        if isinstance(message, CompressedImage):
            return image_from_compressed_message(message), camera
        return image_from_message(message), camera

    def _gate_and_publish(self, frame: Frame, answer: Answer) -> None:
        least = self._parameters().min_confidence
        # Written so that a confidence of NaN is refused, too.
        if not answer.confidence >= least:
            text = f'the confidence {answer.confidence:.3f} is below min_confidence {least:.3f}'
            self._refuse('confidence', text)
            return
        stamp = stamp_to_nanoseconds(frame.message.header.stamp)
        if not self._gate.may_publish(stamp, frame.epoch):
            self._refuse('stale', 'a pose of a newer image was already published')
            return
        self._publish(frame.message, answer.pose)
        if answer.pose.missing:
            self._statistics.transform_missing(answer.pose.missing)
            self._log.warning('missing transform', answer.pose.missing)
        age_s = (self._now() - stamp) / 1e9
        self._statistics.answered(answer.confidence, answer.timings, age_s)

    def _refuse(self, reason: str, text: str, details: str = '') -> None:
        self._statistics.refused(reason, text)
        if reason == 'defect':
            self._log.error(reason, f'image not localized: {details}')
        else:
            self._log.warning(reason, f'image not localized: {text}')
