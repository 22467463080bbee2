"""The lifecycle node: topics in, topics out. What lives while it is active is in session.py."""

import time
from contextlib import suppress
from dataclasses import replace

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.parameter import Parameter

from implicit_loc.errors import CheckpointError, ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc_ros.counting import Statistics
from implicit_loc_ros.deafness import DeafnessWatch
from implicit_loc_ros.declaration import declare_parameters
from implicit_loc_ros.diagnostics import status_of
from implicit_loc_ros.frames import Frames
from implicit_loc_ros.managed_node import ManagedNode
from implicit_loc_ros.maps import MapChoice, MapLoader, choice_of, load_localizer, refusal
from implicit_loc_ros.operation import Operation
from implicit_loc_ros.outputs import Outputs
from implicit_loc_ros.parameters import ParameterError, Parameters
from implicit_loc_ros.pipeline import Surroundings
from implicit_loc_ros.pose_gate import PoseGate
from implicit_loc_ros.runtime_watch import RuntimeWatch
from implicit_loc_ros.session import Session
from implicit_loc_ros.stamps import BACKWARD_JUMP_NS, StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.waiting_callers import WaitingCallers

NAME = 'localization_node'

_REPORT_PERIOD_S = 1.0
# Publishers appear late; until they are known, a reliable one is heard as best effort.
_REVIEW_PERIOD_S = 0.2
# Longer than between two images of a camera that runs.
_SILENCE_S = 1.0


class LocalizationNode(ManagedNode):
    """Configure loads the checkpoint, activate subscribes; an inactive node publishes nothing.

    The executor's thread only receives; a worker's thread owns the network and publishes.

    Raises:
        ParameterError: a parameter has a wrong type or value.
    """

    def __init__(self) -> None:
        super().__init__(NAME)
        self.parameters = self._launched = declare_parameters(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._log = ThrottledLog(self.logger)
        self._runtime_watch = RuntimeWatch(self._log)
        self._stamp_gate = StampGate()
        self._pose_gate = PoseGate()
        self._callers = WaitingCallers()
        self._localizer: Localizer | None = None
        self._map: MapChoice | None = None
        self._loader: MapLoader | None = None
        self._map_refusal = ''
        self._reverting = False
        self._frames: Frames | None = None
        self._session: Session | None = None
        # The one before, if it has not ended in time.
        self._ending: Session | None = None
        self._statistics = Statistics()
        self._deafness = DeafnessWatch()
        # What the middleware has lost, in words.
        self._lost = ''
        self._operation = Operation(
            self,
            self._pose_gate,
            self._callers,
            parameters=lambda: self.parameters,
            active=lambda: self._session,
            log=self._log,
        )
        self._outputs = Outputs(self, self.parameters.map_frame)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Timers in wall time: diagnostics must not stop with a paused bag.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # After a standstill both are due: the review first, which tells the report's reason.
        self.create_timer(_REVIEW_PERIOD_S, self._review, clock=steady)
        self.create_timer(_REPORT_PERIOD_S, self._report, clock=steady)
        threshold = JumpThreshold(
            min_forward=None,
            min_backward=Duration(nanoseconds=-BACKWARD_JUMP_NS),
            on_clock_change=True,
        )
        self._jump_handle = self.get_clock().create_jump_callback(
            threshold, post_callback=self._on_clock_jump
        )

    def configure(self) -> None:
        """Load the checkpoint and run it once; what takes longer comes behind the images."""
        parameters = self.parameters
        if not parameters.checkpoint:
            raise CheckpointError(
                "the parameter 'checkpoint' is empty: set it to a trained .safetensors file"
            )
        start = time.monotonic()
        localizer = load_localizer(parameters)
        seconds = localizer.warm_up(export=False)
        if self._frames is None:
            self._frames = Frames(self, parameters)
        self._localizer, self._map = localizer, choice_of(parameters)
        self._map_refusal = ''
        self._ending = None
        self._loader = MapLoader()
        camera = localizer.description.training_camera
        self.logger.info(
            f'{parameters.checkpoint} of {localizer.description.dataset!r} '
            f'({camera.width}x{camera.height}) on {localizer.runtime.name}: '
            f'loaded in {time.monotonic() - start:.1f} s, {1e3 * seconds:.1f} ms per image'
        )
        self._runtime_watch.begin(localizer)

    def activate(self) -> None:
        """Start the worker and subscribe.

        Raises:
            ImplicitLocError: the worker of the last activation still owns the localizer.
        """
        assert self._localizer is not None
        assert self._map is not None
        assert self._frames is not None
        if self._ending is not None and self._ending.is_alive:
            raise ImplicitLocError(
                'the last activation is still at work on an image: activate again once it has '
                'ended, or clean up and configure'
            )
        self._ending = None
        self._statistics = Statistics()
        around = Surroundings(
            frames=self._frames,
            stamp_gate=self._stamp_gate,
            pose_gate=self._pose_gate,
            statistics=self._statistics,
            callers=self._callers,
            log=self._log,
            outputs=self._outputs,
            parameters=lambda: self.parameters,
            now=lambda: int(self.get_clock().now().nanoseconds),
        )
        self._session = Session(self, around, self._localizer, self._map)

    def deactivate(self) -> None:
        """Unsubscribe and stop the worker."""
        session, self._session = self._session, None
        if session is not None and not session.close():
            self._ending = session
            self.logger.warning('the worker has not ended yet: activation waits for its end')

    def close(self) -> None:
        """Stop the worker and free the network; harmless when nothing runs."""
        self.deactivate()
        if self._loader is not None:
            self._loader.stop()
        self._localizer = self._map = self._loader = None
        # Else the memory stays with PyTorch; without CUDA, or after its failure, there is none.
        with suppress(RuntimeError):
            torch.cuda.empty_cache()

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._stamp_gate.reset()
        if self._session is not None:
            self._session.time_jumped('the clock')

    def _review(self) -> None:
        if self._session is not None:
            self._session.review()
            self._review_hearing(self._session)
            self._runtime_watch.review(self._session.localizer)
        loading = self._loader.take() if self._loader is not None else None
        if loading is None:
            return
        if loading.localizer is None:
            self._keep_map(loading.error)
            return
        self._localizer, self._map = loading.localizer, loading.choice
        if self._session is not None:
            self._session.change_map(self._localizer, self._map)

    def _keep_map(self, error: str) -> None:
        """Say why the next map is none, and let the parameters name the one in use."""
        assert self._map is not None
        self._map_refusal = error.splitlines()[0]
        text = f'the map stays {self._map.checkpoint}, the new one is refused: {error}'
        self._log.error('map refused', text)
        self._reverting = True
        try:
            self.set_parameters(
                [
                    Parameter('checkpoint', value=self._map.checkpoint),
                    Parameter('world_alignment', value=list(self._map.world_alignment)),
                ]
            )
        finally:
            self._reverting = False

    def _map_change(self) -> str:
        wish = self._loader.wish if self._loader is not None else None
        if wish is not None:
            return f'loading {wish.checkpoint}'
        if self._map_refusal:
            return f'refused: {self._map_refusal}'
        if self._session is not None and self._session.is_changing_map and self._map is not None:
            return f'warming up {self._map.checkpoint}'
        return ''

    def _review_hearing(self, session: Session) -> None:
        # A new start would lose what was set since: another map, a pause.
        as_launched = session.enabled and self.parameters == self._launched
        is_silent = self._statistics.since_image_s > _SILENCE_S
        self._lost = self._deafness.review(is_silent, as_launched)

    def _report(self) -> None:
        if self._session is None:
            return
        name = f'{self.get_fully_qualified_name().lstrip("/")}: localization'
        inputs = self._session.inputs(self._map_change(), self._lost)
        summary = self._statistics.summary()
        status = status_of(name, summary, inputs)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
        if summary.second.answered == summary.counts.answered > 0:
            assert summary.first_pose_s is not None
            assert summary.first_image_s is not None
            self.logger.info(
                f'first pose {summary.first_pose_s:.2f} s after the activation, '
                f'{summary.first_pose_s - summary.first_image_s:.2f} s after the first image'
            )

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            changed = self._with(changes)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        names_map = any(change.name == 'checkpoint' for change in changes)
        if names_map and not self._reverting and (reason := refusal(choice_of(changed))):
            return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _take_parameters(self, changes: list[Parameter]) -> None:
        self.parameters = self._with(changes)
        names = {change.name for change in changes}
        if (
            self._loader is None
            or self._reverting
            or not names & {'checkpoint', 'world_alignment'}
        ):
            return
        self._map_refusal = ''
        if 'checkpoint' in names or self._loader.wish is not None:
            self._loader.begin(self.parameters)
            return
        self._map = choice_of(self.parameters)
        if self._session is not None:
            self._session.realign(self._map)

    def _with(self, changes: list[Parameter]) -> Parameters:
        known = {c.name: c.value for c in changes if hasattr(self.parameters, c.name)}
        return replace(self.parameters, **known)
