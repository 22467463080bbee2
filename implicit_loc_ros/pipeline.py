"""What the worker does with one image: decode, localize, gate, publish."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
from implicit_loc.inspection import landmarks_seen
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc_ros.conversions import (
    camera_from_info,
    image_from_compressed_message,
    image_from_message,
)
from implicit_loc_ros.counting import Statistics, Trust
from implicit_loc_ros.frames import Frames, PublishedPose, TransformError
from implicit_loc_ros.outputs import Outputs
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pose_gate import BodyPose, PoseGate, Tracking
from implicit_loc_ros.stamps import StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.transforms import (
    FloatArray,
    aligned_covariance,
    check_pose,
    stamp_to_nanoseconds,
)
from implicit_loc_ros.views import View
from implicit_loc_ros.waiting_callers import WaitingCallers

# Names of the counters on /diagnostics.
REASONS: dict[type[ImplicitLocError], str] = {
    ImageError: 'image',
    CameraError: 'camera',
    AlignmentError: 'alignment',
    TransformError: 'transform',
}


@dataclass(frozen=True)
class Frame:
    """One image with the newest CameraInfo, in the epoch in which it arrived.

    Attributes:
        number: that the callers of ~/localize_once count by.
    """

    message: Image | CompressedImage
    camera_info: CameraInfo
    epoch: int
    number: int = 0

    @property
    def stamp(self) -> int:
        """Of the image, nanoseconds."""
        return stamp_to_nanoseconds(self.message.header.stamp)


@dataclass(frozen=True)
class Answer:
    """The pose of one image.

    Attributes:
        pose: in the map.
        trust: in it.
        timings: seconds of each stage.
    """

    pose: PublishedPose
    trust: Trust
    used_consensus: bool
    timings: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What became of one image, in words for people."""

    accepted: bool
    text: str


@dataclass(frozen=True)
class Surroundings:
    """What every pipeline of an active node works with.

    Attributes:
        frames: of the robot.
        stamp_gate: keeps stamps in order.
        pose_gate: tells poses to believe from others.
        statistics: gets every outcome.
        callers: get the outcome that they wait for.
        log: for refused images.
        outputs: send what is published.
        parameters: the current ones.
        now: the node's clock, nanoseconds.
    """

    frames: Frames
    stamp_gate: StampGate
    pose_gate: PoseGate
    statistics: Statistics
    callers: WaitingCallers
    log: ThrottledLog
    outputs: Outputs
    parameters: Callable[[], Parameters]
    now: Callable[[], int]


class Pipeline:
    """Turns frames into published poses; every failure is counted and logged, none raised.

    Args:
        localizer: used by this pipeline only.
        map_from_world: the checkpoint's world in the map, (4, 4).
        surroundings: of the node.
    """

    def __init__(
        self, localizer: Localizer, map_from_world: FloatArray, surroundings: Surroundings
    ) -> None:
        self._localizer = localizer
        self._map_from_world = map_from_world
        self._around = surroundings
        # Of the image that is worked on, for those who look.
        self._image: NDArray[np.uint8] | None = None
        self._estimate: PoseEstimate | None = None

    def warm_up(self) -> None:
        """Let the calling thread run the network, before the first image needs it.

        Handles of cuDNN and cuBLAS, caches of oneDNN and the threads of OpenMP belong to the
        thread that uses them: the warm-up of another thread leaves this one cold.
        """
        try:
            # An export comes behind the images; one image makes all that a thread has of its own.
            self._localizer.warm_up(export=False, images=1)
        except Exception:  # noqa: BLE001  the images will tell whether this lasts
            text = f'the warm-up failed: {traceback.format_exc()}'
            self._around.log.warning('warm-up', text)

    def realign(self, map_from_world: FloatArray) -> None:
        """Place the checkpoint's world anew, (4, 4); poses in the old place are stale."""
        stamp_gate = self._around.stamp_gate
        # A pose in the new place must not be published in the old epoch.
        with stamp_gate.held(stamp_gate.epoch):
            self._map_from_world = map_from_world
            stamp_gate.begin_epoch()

    def process(self, frame: Frame) -> None:
        """Answer one image, or say why not."""
        pose_gate = self._around.pose_gate
        state = pose_gate.state
        self._image = self._estimate = None
        try:
            outcome = self._gate_and_publish(frame, self._answer(frame))
        except ImplicitLocError as error:
            self._miss(frame)
            outcome = self._refuse(REASONS.get(type(error), 'other'), str(error))
        except Exception as error:  # noqa: BLE001  the robot needs the next image's pose
            self._miss(frame)
            text = f'{type(error).__name__}: {error}'
            outcome = self._refuse('defect', text, traceback.format_exc())
        self._tell_change(state, pose_gate.state)
        # Where an epoch has ended, its callers wait for an image of the next one.
        if outcome.accepted or frame.epoch == self._around.stamp_gate.epoch:
            self._around.callers.decide(frame.number, outcome.accepted, outcome.text)
        try:
            self._show(frame, outcome)
            self._localizer.settle()
        except Exception:  # noqa: BLE001  what is no pose must not cost the robot its poses
            text = f'after an image: {traceback.format_exc()}'
            self._around.log.error('after an image', text)

    def _answer(self, frame: Frame) -> Answer:
        start = time.perf_counter()
        self._image, camera = self._decode(frame)
        decoded = time.perf_counter()
        estimate = self._localizer.localize(self._image, camera)
        check_pose(estimate.world_from_camera, estimate.covariance)
        self._estimate = estimate
        localized = time.perf_counter()
        map_from_world = self._map_from_world
        pose = self._around.frames.publishable(
            map_from_world @ estimate.world_from_camera,
            aligned_covariance(estimate.covariance, map_from_world),
            frame.message.header.frame_id,
            frame.stamp,
        )
        check_pose(pose.map_from_body, pose.covariance)
        timings = {
            'decoding': decoded - start,
            **estimate.timings,
            'transform': time.perf_counter() - localized,
        }
        deviations = np.sqrt(pose.covariance.diagonal())
        trust = Trust(estimate.confidence, max(deviations[:3]), max(deviations[3:]))
        return Answer(pose, trust, estimate.used_consensus, timings)

    def _decode(self, frame: Frame) -> tuple[NDArray[np.uint8], Camera]:
        message = frame.message
        rectified = self._around.parameters().image_rectified
        camera = camera_from_info(frame.camera_info, rectified)
        if isinstance(message, CompressedImage):
            return image_from_compressed_message(message), camera
        return image_from_message(message), camera

    def _gate_and_publish(self, frame: Frame, answer: Answer) -> Outcome:
        around = self._around
        # Nothing of this epoch may come after the next one has begun.
        with around.stamp_gate.held(frame.epoch) as is_current:
            if not is_current:
                return self._refuse('stale', 'the map or the time has changed meanwhile')
            if not around.stamp_gate.may_publish(frame.stamp, frame.epoch):
                return self._refuse('stale', 'a pose of a newer image was already published')
            pose = answer.pose
            verdict = around.pose_gate.judge(
                BodyPose(frame.stamp, frame.epoch, pose.map_from_body, pose.covariance),
                answer.trust.confidence,
                around.parameters().gate_limits,
            )
            if not verdict.accepted:
                return self._refuse(verdict.reason, verdict.text)
            around.outputs.publish(frame.message, pose, around.frames, frame.epoch)
        if verdict.text:
            around.statistics.gate_reopened()
            around.log.warning('reopened', f'the last pose is overruled: {verdict.text}')
        if pose.missing:
            around.statistics.transform_missing(pose.missing)
            around.log.warning('missing transform', pose.missing)
        age_s = (around.now() - frame.stamp) / 1e9
        around.statistics.answered(answer.trust, answer.timings, age_s, answer.used_consensus)
        return Outcome(True, _in_words(answer, around.parameters().map_frame))

    def _show(self, frame: Frame, outcome: Outcome) -> None:
        image, estimate = self._image, self._estimate
        if image is None or frame.epoch != self._around.stamp_gate.epoch:
            return

        def view() -> View:
            header = frame.message.header
            known = self._localizer.landmarks
            find = partial(landmarks_seen, estimate, known) if estimate and known else None
            return View(
                stamp=header.stamp,
                frame_id=header.frame_id,
                image=image,
                accepted=outcome.accepted,
                verdict=outcome.text,
                estimate=estimate,
                stride=self._localizer.description.network.stride,
                map_from_world=self._map_from_world,
                find_landmarks=find,
            )

        self._around.outputs.show(view)

    def _miss(self, frame: Frame) -> None:
        with self._around.stamp_gate.held(frame.epoch) as is_current:
            if is_current:
                limits = self._around.parameters().gate_limits
                self._around.pose_gate.miss(frame.stamp, limits)

    def _tell_change(self, before: Tracking, after: Tracking) -> None:
        text = f'{before.value} -> {after.value}'
        log = self._around.log
        if after is not before and after is Tracking.LOST:
            log.error(text, f'{text}: nothing is published until a pose is accepted')
        elif after is not before and after is Tracking.TRACKING:
            log.info(text, text)

    def _refuse(self, reason: str, text: str, details: str = '') -> Outcome:
        self._around.statistics.refused(reason, text)
        if reason == 'defect':
            self._around.log.error(reason, f'image not localized: {details}')
        else:
            self._around.log.warning(reason, f'image not localized: {text}')
        return Outcome(False, f'{reason}: {text}')


def _in_words(answer: Answer, map_frame: str) -> str:
    x, y, z = answer.pose.map_from_body[:3, 3]
    trust = answer.trust
    return (
        f'at ({x:.2f}, {y:.2f}, {z:.2f}) m in {map_frame}, confidence {trust.confidence:.2f}, '
        f'standard deviation {trust.deviation_m:.3f} m and '
        f'{np.degrees(trust.deviation_rad):.2f} deg'
    )
