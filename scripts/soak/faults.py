"""What happens to robots. A fault is a function and a line of FAULTS; it leaves all as it was."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Path
from replay.errors import ReplayError
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import SetBool, Trigger

from soak.robot import Robot

# Topics have no order among each other: what belongs together is kept apart from the rest.
_APART_S = 0.5
# A node that gets no core for a while sees a CameraInfo so much after the images that follow it.
_INFO_LATE_S = 1.5
_BURST = 30


@dataclass
class Scene:
    """What a fault may touch.

    Attributes:
        robot: around the node.
        pid: of the node's process.
        random: draws what varies.
        longest_s: of a fault.
        stops: when the node's process was stopped, from and to, time.monotonic().
    """

    robot: Robot
    pid: int
    random: Random
    longest_s: float
    stops: list[tuple[float, float]] = field(default_factory=list)

    def seconds(self) -> float:
        """How long a fault lasts."""
        return self.random.uniform(0.2, 1.0) * self.longest_s


Fault = Callable[[Scene], None]


def _camera_stops(scene: Scene) -> None:
    time.sleep(scene.seconds())


def _camera_restarts(scene: Scene) -> None:
    """With the other reliability, and back."""
    for reliable in (False, True):
        scene.robot.restart_camera(reliable)
        if not reliable:
            scene.robot.film(scene.seconds())


def _camera_bursts(scene: Scene) -> None:
    for _ in range(_BURST):
        scene.robot.shoot()


def _camera_is_covered(scene: Scene) -> None:
    pixels = scene.random.randbytes

    def cover(image: Any) -> None:
        image.data = pixels(len(image.data))

    scene.robot.film(scene.seconds(), 'the camera sees noise', cover)


def _images_are_corrupted(scene: Scene) -> None:
    changes: list[Callable[[Any], None]] = [
        lambda image: setattr(image, 'encoding', 'nonsense'),
        lambda image: setattr(image, 'step', 1),
        lambda image: setattr(image, 'width', 0),
        lambda image: setattr(image, 'height', 2 * image.height),
        lambda image: setattr(image, 'data', image.data[:100]),
        lambda image: setattr(image.header, 'stamp', type(image.header.stamp)()),
    ]
    scene.random.shuffle(changes)
    for change in changes:
        scene.robot.film(0.0, 'the image is corrupted', change)


def _images_come_late(scene: Scene) -> None:
    for _ in range(5):
        late_s = scene.random.uniform(0.05, 0.9)
        scene.robot.shoot('its stamp is before that of the image before it', late_s=late_s)


def _infos_stop(scene: Scene) -> None:
    # The newest CameraInfo goes on to hold.
    scene.robot.infos_come = False
    scene.robot.film(scene.seconds())
    scene.robot.infos_come = True


def _infos_are_wrong(scene: Scene) -> None:
    def uncalibrated(info: Any) -> None:
        info.k = np.zeros(9)

    def of_another_size(info: Any) -> None:
        info.width, info.height = info.width // 2, info.height // 2

    def of_an_unknown_model(info: Any) -> None:
        info.distortion_model, info.d = 'kaleidoscope', [0.1]

    robot = scene.robot
    choices = (uncalibrated, of_another_size, of_an_unknown_model)
    time.sleep(_APART_S)
    robot.change_info = scene.random.choice(choices)
    # Its own CameraInfo may come after an image.
    robot.film(_INFO_LATE_S)
    robot.film(scene.seconds(), 'its CameraInfo is wrong')
    time.sleep(_APART_S)
    robot.change_info = None


def _odometry_stops(scene: Scene) -> None:
    scene.robot.odometry_comes = False
    scene.robot.film(scene.seconds())
    scene.robot.odometry_comes = True


def _time_jumps_back(scene: Scene) -> None:
    scene.robot.jump(-scene.random.uniform(2.0, 50.0))


def _time_jumps_ahead(scene: Scene) -> None:
    scene.robot.jump(scene.random.choice((2.0, 20.0, 5000.0)))


def _node_is_stopped(scene: Scene) -> None:
    """As a debugger or a machine that swaps does it, while the camera goes on."""
    begin = time.monotonic()
    os.kill(scene.pid, signal.SIGSTOP)
    try:
        scene.robot.film(scene.seconds())
    finally:
        os.kill(scene.pid, signal.SIGCONT)
        scene.stops.append((begin, time.monotonic()))


def _listeners_come_and_go(scene: Scene) -> None:
    topics = [(Image, 'debug_image'), (PointCloud2, 'points'), (Path, 'path')]
    scene.random.shuffle(topics)
    scene.robot.listen(topics[: scene.random.randint(1, 3)], scene.seconds())


def _is_paused(scene: Scene) -> None:
    robot = scene.robot
    _expect(robot.call(SetBool, 'enable', SetBool.Request(data=False)).success, 'pausing')
    robot.film(scene.seconds(), 'the node is paused')
    time.sleep(_APART_S)
    _expect(robot.call(SetBool, 'enable', SetBool.Request(data=True)).success, 'going on')


def _is_deactivated(scene: Scene) -> None:
    robot = scene.robot

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        _expect(robot.call(ChangeState, 'change_state', request).success, 'the transition')

    change(Transition.TRANSITION_DEACTIVATE)
    robot.film(scene.seconds(), 'the node is not active')
    time.sleep(_APART_S)
    change(Transition.TRANSITION_ACTIVATE)


def _is_asked_once(scene: Scene) -> None:
    answer = scene.robot.call(Trigger, 'localize_once', Trigger.Request())
    # Of an image that has no pose it is the reason.
    _expect(answer.success or bool(answer.message), 'to localize once')


def _is_reset(scene: Scene) -> None:
    _expect(scene.robot.call(Trigger, 'reset', Trigger.Request()).success, 'the reset')


def _is_told_nonsense(scene: Scene) -> None:
    """An initial pose in another frame, or with a quaternion that is none."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id = scene.random.choice(('map', 'nowhere'))
    message.pose.pose.orientation.w = 0.0 if message.header.frame_id == 'map' else 1.0
    kind = PoseWithCovarianceStamped
    scene.robot.publish_once(kind, '/initialpose', message, _APART_S)


FAULTS: dict[str, Fault] = {
    'camera_stops': _camera_stops,
    'camera_restarts': _camera_restarts,
    'camera_bursts': _camera_bursts,
    'camera_is_covered': _camera_is_covered,
    'images_are_corrupted': _images_are_corrupted,
    'images_come_late': _images_come_late,
    'infos_stop': _infos_stop,
    'infos_are_wrong': _infos_are_wrong,
    'odometry_stops': _odometry_stops,
    'time_jumps_back': _time_jumps_back,
    'time_jumps_ahead': _time_jumps_ahead,
    'node_is_stopped': _node_is_stopped,
    'listeners_come_and_go': _listeners_come_and_go,
    'is_paused': _is_paused,
    'is_deactivated': _is_deactivated,
    'is_asked_once': _is_asked_once,
    'is_reset': _is_reset,
    'is_told_nonsense': _is_told_nonsense,
}


def _expect(success: bool, what: str) -> None:
    if not success:
        raise ReplayError(f'the node refuses {what}')
