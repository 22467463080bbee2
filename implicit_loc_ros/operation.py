"""What people tell a running node: where it is, to forget where it was, to pause, to look once."""

from collections.abc import Callable
from typing import Protocol

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from implicit_loc_ros.initial_pose import InitialPoseError, initial_pose_from_message
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pose_gate import PoseGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.waiting_callers import WaitingCallers

INITIAL_POSE_TOPIC = 'initialpose'

_NOT_ACTIVE = 'the node is not active'


class Pausable(Protocol):
    """What is paused and goes on."""

    @property
    def enabled(self) -> bool:
        """Whether images are looked at."""

    def enable(self, enabled: bool) -> None:
        """Look at images, or publish nothing from now on."""


class Operation:
    """The node's services, and the topic `initialpose`; each answers in every lifecycle state.

    Args:
        node: that offers them.
        gate: that a reset and an initial pose open.
        callers: who wait for the next image.
        parameters: the current ones.
        active: what localizes; None while the node is not active.
        log: for what was asked.
    """

    def __init__(
        self,
        node: Node,
        gate: PoseGate,
        callers: WaitingCallers,
        parameters: Callable[[], Parameters],
        active: Callable[[], Pausable | None],
        log: ThrottledLog,
    ) -> None:
        self._node = node
        self._gate = gate
        self._callers = callers
        self._parameters = parameters
        self._active = active
        self._log = log
        node.create_service(Trigger, '~/reset', self._reset)
        node.create_service(SetBool, '~/enable', self._enable)
        # A group of its own: while a caller waits, the other groups go on.
        node.create_service(
            Trigger,
            '~/localize_once',
            self._localize_once,
            callback_group=ReentrantCallbackGroup(),
        )
        node.create_subscription(
            PoseWithCovarianceStamped,
            INITIAL_POSE_TOPIC,
            self._expect,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
        )

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.reset()
        response.success = True
        if self._active() is not None:
            response.message = 'the last pose is forgotten: the next confident one is accepted'
        else:
            response.message = f'{_NOT_ACTIVE}: it holds no pose that could be forgotten'
        self._log.info('reset', f'reset: {response.message}')
        return response

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        active = self._active()
        wanted = 'enabled' if request.data else 'paused'
        response.success = active is not None
        if active is None:
            response.message = f'{_NOT_ACTIVE}: its activation enables localization'
        elif active.enabled == request.data:
            response.message = f'localization is {wanted} already'
        else:
            active.enable(request.data)
            then = 'it starts anew' if request.data else 'nothing more is published'
            response.message = f'localization is {wanted}: {then}'
        self._log.info('enable', response.message)
        return response

    async def _localize_once(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        active = self._active()
        if active is None or not active.enabled:
            remedy = 'activate it' if active is None else 'call ~/enable with true'
            state = _NOT_ACTIVE if active is None else 'localization is paused'
            response.message = f'{state}: {remedy}'
            return response
        future = Future(executor=self._node.executor)

        def answer(success: bool, text: str) -> None:
            future.set_result((success, text if success else f'no pose: {text}'))
            # Until something wakes it, an executor does not see that a coroutine can go on.
            if (executor := self._node.executor) is not None:
                executor.wake()

        self._callers.ask(answer)
        response.success, response.message = await future
        return response

    def _expect(self, message: PoseWithCovarianceStamped) -> None:
        try:
            if self._active() is None:
                raise InitialPoseError(f'{_NOT_ACTIVE}, and activation starts anew')
            parameters = self._parameters()
            pose = initial_pose_from_message(
                message, parameters.map_frame, parameters.publishes_base
            )
        except InitialPoseError as error:
            self._log.warning('bad initial pose', f'initial pose refused: {error}')
            return
        self._gate.expect(pose)
        position = ', '.join(f'{value:.2f}' for value in pose.map_from_body[:3, 3])
        self._log.info('initial pose', f'initial pose ({position}) taken: the next must agree')
