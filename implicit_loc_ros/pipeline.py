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
from implicit_loc_ros.pose_gate import BodyPose, PoseGate, Tracking
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
    used_consensus: bool
    timings: dict[str, float]


class Pipeline:
    """Turns frames into published poses; every failure is counted and logged, none raised.

    Args:
        localizer: used by this pipeline only.
        frames: of the robot.
        stamp_gate: keeps stamps in order.
        pose_gate: tells poses to believe from others.
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
        stamp_gate: StampGate,
        pose_gate: PoseGate,
        statistics: Statistics,
        log: ThrottledLog,
        parameters: Callable[[], Parameters],
        publish: Callable[[Image | CompressedImage, PublishedPose], None],
        now: Callable[[], int],
    ) -> None:
        self._localizer = localizer
        self._frames = frames
        self._stamp_gate = stamp_gate
        self._pose_gate = pose_gate
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
        state = self._pose_gate.state
        try:
            answer = self._answer(frame)
            self._gate_and_publish(frame, answer)
        except ImplicitLocError as error:
            self._miss(frame)
            self._refuse(REASONS.get(type(error), 'other'), str(error))
        except Exception as error:  # noqa: BLE001  the robot needs the next image's pose
            self._miss(frame)
            self._refuse('defect', f'{type(error).__name__}: {error}', traceback.format_exc())
        self._tell_change(state, self._pose_gate.state)

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
        return Answer(pose, estimate.confidence, estimate.used_consensus, timings)

    def _decode(self, frame: Frame) -> tuple[NDArray[np.uint8], Camera]:
        message = frame.message
        camera = camera_from_info(frame.camera_info, self._parameters().image_rectified)
        if isinstance(message, CompressedImage):
            return image_from_compressed_message(message), camera
        return image_from_message(message), camera

    def _gate_and_publish(self, frame: Frame, answer: Answer) -> None:
        stamp = stamp_to_nanoseconds(frame.message.header.stamp)
        if not self._stamp_gate.may_publish(stamp, frame.epoch):
            self._refuse('stale', 'a pose of a newer image was already published')
            return
        pose = answer.pose
        verdict = self._pose_gate.judge(
            BodyPose(stamp, frame.epoch, pose.map_from_body, pose.covariance),
            answer.confidence,
            self._parameters().gate_limits,
        )
        if not verdict.accepted:
            self._refuse(verdict.reason, verdict.text)
            return
        if verdict.text:
            self._statistics.gate_reopened()
            self._log.warning('reopened', f'the last pose is overruled: {verdict.text}')
        self._publish(frame.message, pose)
        if pose.missing:
            self._statistics.transform_missing(pose.missing)
            self._log.warning('missing transform', pose.missing)
        age_s = (self._now() - stamp) / 1e9
        self._statistics.answered(answer.confidence, answer.timings, age_s, answer.used_consensus)

    def _miss(self, frame: Frame) -> None:
        if frame.epoch == self._stamp_gate.epoch:
            stamp = stamp_to_nanoseconds(frame.message.header.stamp)
            self._pose_gate.miss(stamp, self._parameters().gate_limits)

    def _tell_change(self, before: Tracking, after: Tracking) -> None:
        text = f'{before.value} -> {after.value}'
        if after is not before and after is Tracking.LOST:
            self._log.error(text, f'{text}: nothing is published until a pose is accepted')
        elif after is not before and after is Tracking.TRACKING:
            self._log.info(text, text)

    def _refuse(self, reason: str, text: str, details: str = '') -> None:
        self._statistics.refused(reason, text)
        if reason == 'defect':
            self._log.error(reason, f'image not localized: {details}')
        else:
            self._log.warning(reason, f'image not localized: {text}')
