"""The lifecycle node: topics in, topics out. What happens to an image is in pipeline.py."""

import time
from contextlib import suppress
from dataclasses import replace

import torch
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from implicit_loc.errors import CheckpointError
from implicit_loc.localizer import Localizer
from implicit_loc_ros.diagnostics import Inputs, Statistics
from implicit_loc_ros.frames import Frames, PublishedPose
from implicit_loc_ros.managed_node import ManagedNode
from implicit_loc_ros.operation import Operation
from implicit_loc_ros.parameters import ParameterError, Parameters, declare_parameters
from implicit_loc_ros.pipeline import Frame, Pipeline
from implicit_loc_ros.pose_gate import PoseGate
from implicit_loc_ros.qos import FittingSubscription
from implicit_loc_ros.stamps import BACKWARD_JUMP_NS, Arrival, StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.transforms import (
    pose_stamped,
    pose_with_covariance_stamped,
    stamp_to_nanoseconds,
)
from implicit_loc_ros.worker import NewestItemWorker

NAME = 'localization_node'

_REPORT_PERIOD_S = 1.0
# Publishers appear late; until they are known, a reliable one is heard as best effort.
_REVIEW_PERIOD_S = 0.2


class LocalizationNode(ManagedNode):
    """Configure loads the checkpoint, activate subscribes; an inactive node publishes nothing.

    The executor's thread only receives; a worker's thread owns the network and publishes.

    Raises:
        ParameterError: a parameter has a wrong type or value.
    """

    def __init__(self) -> None:
        super().__init__(NAME)
        self.parameters = declare_parameters(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._log = ThrottledLog(self.logger)
        self._stamp_gate = StampGate()
        self._pose_gate = PoseGate()
        self._operation = Operation(
            self,
            self._pose_gate,
            parameters=lambda: self.parameters,
            is_active=lambda: self._worker is not None,
            log=self._log,
        )
        self._statistics = Statistics()
        self._localizer: Localizer | None = None
        self._frames: Frames | None = None
        self._worker: NewestItemWorker[Frame] | None = None
        self._camera_info: CameraInfo | None = None
        self._waiting: Image | CompressedImage | None = None
        self._poses = self.create_publisher(PoseStamped, '~/pose', 10)
        self._poses_with_covariance = self.create_publisher(
            PoseWithCovarianceStamped, '~/pose_with_covariance', 10
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Timers in wall time: diagnostics must not stop with a paused bag.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers_while_active = [
            self.create_timer(period, callback, clock=steady, autostart=False)
            for period, callback in (
                (_REPORT_PERIOD_S, self._report),
                (_REVIEW_PERIOD_S, self._review_publishers),
            )
        ]
        threshold = JumpThreshold(
            min_forward=None,
            min_backward=Duration(nanoseconds=-BACKWARD_JUMP_NS),
            on_clock_change=True,
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            threshold, post_callback=self._on_clock_jump
        )

    def configure(self) -> None:
        """Load the checkpoint and run it once."""
        parameters = self.parameters
        if not parameters.checkpoint:
            raise CheckpointError(
                "the parameter 'checkpoint' is empty: set it to a trained .safetensors file"
            )
        if parameters.torch_threads:
            torch.set_num_threads(parameters.torch_threads)
        start = time.monotonic()
        localizer = Localizer.load(parameters.checkpoint, parameters.device, parameters.solver)
        seconds = localizer.warm_up()
        if self._frames is None:
            self._frames = Frames(self, parameters)
        self._localizer = localizer
        camera = localizer.description.training_camera
        self.logger.info(
            f'{parameters.checkpoint} of {localizer.description.dataset!r} '
            f'({camera.width}x{camera.height}) on {localizer.device}: '
            f'loaded in {time.monotonic() - start:.1f} s, {1e3 * seconds:.1f} ms per image'
        )

    def activate(self) -> None:
        """Start the worker and subscribe."""
        assert self._localizer is not None
        assert self._frames is not None
        self._stamp_gate.reset()
        self._pose_gate.reset()
        self._camera_info = self._waiting = None
        self._statistics = Statistics()
        pipeline = Pipeline(
            localizer=self._localizer,
            frames=self._frames,
            stamp_gate=self._stamp_gate,
            pose_gate=self._pose_gate,
            statistics=self._statistics,
            log=self._log,
            parameters=lambda: self.parameters,
            publish=self._publish,
            now=lambda: int(self.get_clock().now().nanoseconds),
        )
        self._worker = NewestItemWorker(pipeline.process, 'localizer', pipeline.warm_up)
        compressed = self.parameters.image_transport == 'compressed'
        self._images: FittingSubscription[Image | CompressedImage] = FittingSubscription(
            self,
            CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image',
            self._on_image,
            self.parameters.qos,
        )
        self._camera_infos: FittingSubscription[CameraInfo] = FittingSubscription(
            self, CameraInfo, 'camera_info', self._on_camera_info, self.parameters.qos
        )
        for timer in self._timers_while_active:
            timer.reset()

    def deactivate(self) -> None:
        """Unsubscribe and stop the worker."""
        if self._worker is None:
            return
        for timer in self._timers_while_active:
            timer.cancel()
        self._images.destroy()
        self._camera_infos.destroy()
        # A new epoch, so that a frame that is still computed is not published.
        self._stamp_gate.reset()
        worker, self._worker = self._worker, None
        if not worker.stop():
            self.logger.warning('the worker has not ended yet')

    def close(self) -> None:
        """Stop the worker and free the network; harmless when nothing runs."""
        self.deactivate()
        self._localizer = None
        # Else the memory stays with PyTorch; without CUDA, or after its failure, there is none.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_to_nanoseconds(message.header.stamp)
        self._statistics.image_received(stamp)
        if stamp == 0:
            # To TF it means 'the newest': the pose would get another time's odometry.
            self._refuse_unseen('no stamp', 'its stamp is 0: let the camera driver set it')
            return
        arrival = self._stamp_gate.arrive(stamp)
        if arrival is Arrival.LATE:
            self._refuse_unseen('stale', 'its stamp is not after that of the image before it')
            return
        if arrival is Arrival.JUMP:
            self._on_time_jump('the stamps of the images')
        if self._camera_info is None:
            # The CameraInfo of the very first image often comes right behind it.
            if self._waiting is not None:
                text = f'no CameraInfo has come on {self._camera_infos.topic_name}'
                self._refuse_unseen('no CameraInfo', text)
            self._waiting = message
            return
        self._submit(message, self._camera_info)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._statistics.camera_info_received()
        self._camera_info = message
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._submit(waiting, message)

    def _submit(self, message: Image | CompressedImage, camera_info: CameraInfo) -> None:
        if self._worker is None:
            return
        if self._worker.submit(Frame(message, camera_info, self._stamp_gate.epoch)):
            self._statistics.overtaken()

    def _refuse_unseen(self, reason: str, text: str) -> None:
        self._statistics.refused(reason, text)
        self._log.warning(reason, f'image not localized: {text}')

    def _publish(self, image: Image | CompressedImage, pose: PublishedPose) -> None:
        stamp, frame = image.header.stamp, self.parameters.map_frame
        try:
            if pose.transform is not None and self._frames is not None:
                self._frames.broadcast(pose.transform)
            self._poses.publish(pose_stamped(stamp, frame, pose.map_from_body))
            self._poses_with_covariance.publish(
                pose_with_covariance_stamped(stamp, frame, pose.map_from_body, pose.covariance)
            )
        except Exception:
            # A shutdown takes the publishers away at any moment.
            if self.context.ok():
                raise

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._stamp_gate.reset()
        self._on_time_jump('the clock')

    def _on_time_jump(self, what: str) -> None:
        self._waiting = None
        self._pose_gate.reset()
        self._statistics.time_jumped()
        if self._frames is not None:
            self._frames.clear()
        self._log.warning('time jump', f'{what} jumped: starting anew')

    def _review_publishers(self) -> None:
        self._images.review()
        self._camera_infos.review()

    def _report(self) -> None:
        assert self._localizer is not None
        status = self._statistics.report(
            f'{self.get_fully_qualified_name().lstrip("/")}: localization',
            Inputs(
                image_topic=self._images.topic_name,
                image_publishers=self._images.publisher_count(),
                image_reliable=self._images.reliable,
                camera_info_topic=self._camera_infos.topic_name,
                has_camera_info=self._camera_info is not None,
                device=str(self._localizer.device),
                tracking=self._pose_gate.state,
            ),
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            self._with(changes)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, changes: list[Parameter]) -> None:
        self.parameters = self._with(changes)

    def _with(self, changes: list[Parameter]) -> Parameters:
        known = {c.name: c.value for c in changes if hasattr(self.parameters, c.name)}
        return replace(self.parameters, **known)
