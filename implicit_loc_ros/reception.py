"""Images and CameraInfo as they arrive: which of them are looked at."""

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
from implicit_loc_ros.waiting_callers import WaitingCallers


@dataclass(frozen=True)
class Ways:
    """Where a reception reports to.

    Attributes:
        submit: takes a frame to look at; returns whether it overtook another one.
        jumped: told that time jumped back, and by what.
    """

    submit: Callable[[Frame], bool]
    jumped: Callable[[str], None]


class Reception:
    """The subscriptions of an active node; every method runs in the executor's thread.

    Attributes:
        enabled: whether images are looked at.

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
        self.enabled = True
        self._parameters = parameters
        self._stamp_gate = stamp_gate
        self._callers = callers
        self._statistics = statistics
        self._log = log
        self._ways = ways
        self._rate = RateLimit()
        self._camera_info: CameraInfo | None = None
        self._waiting: tuple[Image | CompressedImage, int] | None = None
        compressed = parameters().image_transport == 'compressed'
        self.images: FittingSubscription[Image | CompressedImage] = FittingSubscription(
            node,
            CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image',
            self._on_image,
            parameters().qos,
        )
        self.camera_infos: FittingSubscription[CameraInfo] = FittingSubscription(
            node, CameraInfo, 'camera_info', self._on_camera_info, parameters().qos
        )

    @property
    def has_camera_info(self) -> bool:
        """Whether any CameraInfo has come."""
        return self._camera_info is not None

    def review(self) -> None:
        """Fit the subscriptions to publishers that came or went."""
        self.images.review()
        self.camera_infos.review()

    def restart(self) -> None:
        """Time jumped: forget what belongs to the time before."""
        self._rate = RateLimit()
        self._waiting = None

    def destroy(self) -> None:
        """Unsubscribe."""
        self.images.destroy()
        self.camera_infos.destroy()

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_to_nanoseconds(message.header.stamp)
        number = self._callers.image_arrived()
        self._statistics.image_received(stamp)
        if not self.enabled:
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
                text = f'no CameraInfo has come on {self.camera_infos.topic_name}'
                self._refuse(self._waiting[1], 'no CameraInfo', text)
            self._waiting = (message, number)
            return
        self._submit(message, self._camera_info, number)

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
        if self._waiting is not None:
            (image, number), self._waiting = self._waiting, None
            self._submit(image, message, number)

    def _submit(
        self, message: Image | CompressedImage, camera_info: CameraInfo, number: int
    ) -> None:
        frame = Frame(message, camera_info, self._stamp_gate.epoch, number)
        if self._ways.submit(frame):
            self._statistics.overtaken()

    def _refuse(self, number: int, reason: str, text: str) -> None:
        self._statistics.refused(reason, text)
        self._log.warning(reason, f'image not localized: {text}')
        self._callers.decide(number, False, f'{reason}: {text}')
