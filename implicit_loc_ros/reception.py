"""Images and CameraInfo as they arrive: which of them are looked at."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from implicit_loc_ros.counting import Statistics
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pipeline import Frame
from implicit_loc_ros.qos import FittingSubscription
from implicit_loc_ros.stamps import Arrival, RateLimit, StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.transforms import stamp_to_nanoseconds
from implicit_loc_ros.waiting_callers import LONGEST_WAIT_S, WaitingCallers


@dataclass(frozen=True)
class Ways:
    """Where a reception reports to.

    Attributes:
        submit: takes a frame to look at; returns whether it overtook another one.
        jumped: told that time jumped back, and by what.
    """

    submit: Callable[[Frame], bool]
    jumped: Callable[[str], None]


@dataclass(frozen=True)
class _Waiting:
    """An image that came before the first CameraInfo.

    Attributes:
        epoch: in which it arrived.
        since: time.monotonic() of its arrival.
    """

    message: Image | CompressedImage
    number: int
    epoch: int
    since: float


class Reception:
    """The subscriptions of an active node; every method runs in the executor's thread.

    Args:
        node: that subscribes.
        parameters: the current ones.
        stamp_gate: keeps stamps in order.
        callers: who wait for the next image.
        statistics: gets every image that is not looked at.
        log: for images that are refused.
        ways: out of here.
    """

    def __init__(
        self,
        node: Node,
        parameters: Callable[[], Parameters],
        stamp_gate: StampGate,
        callers: WaitingCallers,
        statistics: Statistics,
        log: ThrottledLog,
        ways: Ways,
    ) -> None:
        self._enabled = True
        self._parameters = parameters
        self._stamp_gate = stamp_gate
        self._callers = callers
        self._statistics = statistics
        self._log = log
        self._ways = ways
        self._rate = RateLimit()
        self._camera_info: CameraInfo | None = None
        self._waiting: _Waiting | None = None
        compressed = parameters().image_transport == 'compressed'
        self.images: FittingSubscription[Image | CompressedImage] = FittingSubscription(
            node,
            CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image',
            self._on_image,
            parameters().qos,
        )
        self.camera_infos: FittingSubscription[CameraInfo] = FittingSubscription(
            node,
            CameraInfo,
            'camera_info',
            self._on_camera_info,
            parameters().qos,
            # Drivers stamp them all alike, or not at all, and yet change their size.
            stamps_differ=False,
        )

    @property
    def has_camera_info(self) -> bool:
        """Whether any CameraInfo has come."""
        return self._camera_info is not None

    @property
    def enabled(self) -> bool:
        """Whether images are looked at."""
        return self._enabled

    @enabled.setter
    def enabled(self, enabled: bool) -> None:
        self._enabled = enabled
        if not enabled and self._waiting is not None:
            self._waiting = None
            self._statistics.skipped('paused')

    @property
    def missing(self) -> str:
        """What has to come before an image can be looked at, in words."""
        if self._waiting is not None:
            return f'CameraInfo on {self.camera_infos.topic_name}'
        return f'image on {self.images.topic_name}'

    def review(self) -> None:
        """Fit the subscriptions to publishers that came or went; give up an image that waits."""
        for subscription in (self.images, self.camera_infos):
            if subscription.review():
                topic = subscription.topic_name
                self._log.info(f'{topic} anew', f'{topic} pauses: subscribed anew')
        waiting = self._waiting
        if waiting is not None and time.monotonic() - waiting.since > LONGEST_WAIT_S:
            self._waiting = None
            self._refuse_waiting(waiting)

    def restart(self) -> None:
        """Time jumped: forget what belongs to the time before; the next image is for all."""
        self._rate = RateLimit()
        if self._waiting is not None:
            self._waiting = None
            self._statistics.refused('stale', 'time jumped before a CameraInfo came')
        self._callers.release()

    def renew(self) -> None:
        """Subscribe anew, beginning with the newest messages."""
        self.images.renew()
        self.camera_infos.renew()

    def destroy(self) -> None:
        """Unsubscribe."""
        self.images.destroy()
        self.camera_infos.destroy()

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_to_nanoseconds(message.header.stamp)
        number = self._callers.image_arrived()
        self._statistics.image_received(stamp)
        if not self._enabled:
            self._statistics.skipped('paused')
            return
        if stamp == 0:
            # To TF it means 'the newest': the pose would get another time's odometry.
            self._refuse(number, 'no stamp', 'its stamp is 0: let the camera driver set it')
            return
        arrival = self._stamp_gate.arrive(stamp)
        if arrival is Arrival.LATE:
            self._refuse(number, 'stale', 'its stamp is not after that of the image before it')
            return
        if arrival is Arrival.JUMP:
            self._ways.jumped('the stamps of the images')
        if reason := self._reason_to_skip(stamp, number):
            self._statistics.skipped(reason)
            return
        if self._camera_info is None:
            # The CameraInfo of the very first image often comes right behind it.
            if self._waiting is not None:
                self._refuse_waiting(self._waiting)
            epoch = self._stamp_gate.epoch
            self._waiting = _Waiting(message, number, epoch, time.monotonic())
            return
        self._submit(Frame(message, self._camera_info, self._stamp_gate.epoch, number))

    def _reason_to_skip(self, stamp: int, number: int) -> str:
        """Why nobody wants an image to be looked at; empty if somebody does."""
        parameters = self._parameters()
        if self._callers.take(number):
            return ''
        if parameters.mode == 'on_demand':
            return 'on demand'
        return '' if self._rate.takes(stamp, parameters.max_rate) else 'max_rate'

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._statistics.camera_info_received()
        self._camera_info = message
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._submit(Frame(waiting.message, message, waiting.epoch, waiting.number))

    def _submit(self, frame: Frame) -> None:
        if self._ways.submit(frame):
            self._statistics.overtaken()

    def _refuse_waiting(self, waiting: _Waiting) -> None:
        text = f'no CameraInfo has come on {self.camera_infos.topic_name}'
        self._refuse(waiting.number, 'no CameraInfo', text)

    def _refuse(self, number: int, reason: str, text: str) -> None:
        self._statistics.refused(reason, text)
        self._log.warning(reason, f'image not localized: {text}')
        self._callers.decide(number, False, f'{reason}: {text}')
