"""The node between doubt and certainty: LOST, jumps, ~/reset and initialpose."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('lifecycle_msgs', reason='lifecycle_msgs is not installed')
pytest.importorskip('std_srvs', reason='std_srvs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from std_srvs.srv import Trigger

from implicit_loc.localizer import Localizer

Start = Callable[..., Any]


class Told:
    """What the localizer answers, and which images were answered."""

    def __init__(self, peer: Any, messages: Any) -> None:
        self.peer = peer
        self.confidence = 0.9
        self.x = 0.0
        self.asked = 0
        self._messages = messages

    def localize(self, image: Any, camera: Any) -> SimpleNamespace:
        self.asked += 1
        world_from_camera = np.eye(4)
        world_from_camera[0, 3] = self.x
        return SimpleNamespace(
            world_from_camera=world_from_camera,
            covariance=1e-4 * np.eye(6),
            confidence=self.confidence,
            used_consensus=False,
            timings={},
        )

    def play(self, count: int = 1) -> list[float]:
        """Send images one by one; x of the poses that came."""
        before = len(self.peer.poses)
        self.peer.wait_for_subscriber(self.peer.images)
        self.peer.wait_for_subscriber(self.peer.camera_infos)
        if not self.asked:
            self.peer.camera_infos.publish(self._messages.camera_info())
            time.sleep(0.1)
        for _ in range(count):
            expected = self.asked + 1
            self.peer.images.publish(self._messages.image(self.peer.next_stamp()))
            self.peer.wait(lambda expected=expected: self.asked >= expected, 'the localizer')
        time.sleep(0.2)
        return [pose.pose.position.x for pose in self.peer.poses[before:]]


@pytest.fixture
def told(start: Start, messages: Any, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told(None, messages)
    monkeypatch.setattr(
        Localizer, 'localize', lambda _, image, camera: told.localize(image, camera)
    )
    # It would ask for poses, too.
    monkeypatch.setattr(Localizer, 'warm_up', lambda *_, **__: 0.0)
    told.peer = start(min_confidence='0.5', lost_after_s='0.5', reopen_after='3')
    return told


def initial_pose(x: float, frame: str = 'map', variance: float = 0.25) -> Any:
    """As RViz sends it: height, roll and pitch have variance 0."""
    message = PoseWithCovarianceStamped()
    message.header.frame_id = frame
    message.pose.pose.position.x = x
    message.pose.pose.orientation.w = 1.0
    message.pose.covariance = np.diag([variance, variance, 0.0, 0.0, 0.0, 0.07]).ravel()
    return message


def test_a_lost_node_is_silent_says_so_and_recovers(told: Told) -> None:
    peer = told.peer
    assert told.play() == [0.0]
    assert peer.counters()['state'] == 'TRACKING'
    told.confidence = 0.2
    transforms = len(peer.transforms)
    assert told.play(8) == []
    assert len(peer.transforms) == transforms
    counters = peer.counters()
    assert (counters['state'], counters['refused: confidence']) == ('LOST', '8')
    assert peer.statuses[-1].level == DiagnosticStatus.ERROR
    assert peer.statuses[-1].message.startswith('LOST: no pose is accepted: the confidence 0.200')
    told.confidence = 0.9
    assert told.play() == [0.0]
    assert peer.counters()['state'] == 'TRACKING'
    stamps = [(p.header.stamp.sec, p.header.stamp.nanosec) for p in peer.poses]
    assert stamps == sorted(set(stamps))


def test_a_jump_waits_for_poses_that_agree(told: Told) -> None:
    told.play()
    told.x = 30.0
    assert told.play(4) == [30.0, 30.0]
    counters = told.peer.counters()
    assert (counters['refused: jump'], counters['last pose overruled']) == ('2', '1')
    assert len(told.peer.transforms) == 3


def test_a_reset_opens_the_gate(told: Told) -> None:
    told.play()
    answer = told.peer.call(Trigger, 'reset', Trigger.Request())
    assert answer.success
    assert 'the last pose is forgotten' in answer.message
    assert told.peer.counters()['state'] == 'WAITING'
    told.x = 30.0
    assert told.play() == [30.0]


def test_a_reset_is_answered_by_a_node_that_is_not_active(told: Told) -> None:
    deactivate = Transition(id=Transition.TRANSITION_DEACTIVATE)
    request = ChangeState.Request(transition=deactivate)
    assert told.peer.call(ChangeState, 'change_state', request).success
    answer = told.peer.call(Trigger, 'reset', Trigger.Request())
    assert 'not active' in answer.message


def send_initial_pose(peer: Any, *poses: Any) -> None:
    publisher = peer.node.create_publisher(PoseWithCovarianceStamped, 'initialpose', 1)
    peer.wait_for_subscriber(publisher)
    for pose in poses:
        publisher.publish(pose)
        time.sleep(0.3)


def test_an_initial_pose_opens_the_gate_there_and_only_there(told: Told) -> None:
    told.play()
    send_initial_pose(told.peer, initial_pose(30.0))
    assert told.play() == []
    assert told.peer.counters()['refused: jump'] == '1'
    told.x = 30.5
    assert told.play() == [30.5]


def test_a_bad_initial_pose_changes_nothing(told: Told, capfd: pytest.CaptureFixture[str]) -> None:
    told.play()
    send_initial_pose(told.peer, initial_pose(30.0, frame='odom'))
    # Lines of one cause come once a second.
    time.sleep(0.8)
    send_initial_pose(told.peer, initial_pose(30.0, variance=0.0))
    assert told.play() == [0.0]
    told.x = 30.0
    assert told.play() == []
    log = capfd.readouterr().err
    assert "initial pose refused: it is in the frame 'odom', but the map is 'map'" in log
    assert 'initial pose refused: its covariance must have variances > 0' in log
    assert 'Traceback' not in log
