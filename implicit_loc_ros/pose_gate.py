"""Which poses are believed: confident ones, no farther from the last one than motion allows.

No message and no ROS in here: stamps are nanoseconds, poses are matrices.
"""

import threading
from dataclasses import dataclass, replace
from enum import Enum

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Standard deviations that a pose may be off along the direction in which two poses differ.
_SIGMAS = 3.0
# Below this length on the ground, of 1, a direction has no heading: the body looks up or down.
_LEAST_HORIZONTAL = 0.2


class Tracking(Enum):
    """What the node knows about where it is."""

    WAITING = 'WAITING'
    TRACKING = 'TRACKING'
    LOST = 'LOST'


@dataclass(frozen=True)
class GateLimits:
    """What is demanded of a pose.

    Attributes:
        min_confidence: the least confidence, 0 to 1.
        max_speed: of the body, m/s.
        max_turn_rate: of the body, rad/s.
        slack_m: distance that two poses may always differ by, metres.
        slack_rad: angle that two poses may always differ by, radians.
        timeout_s: a pose binds later ones for this long, seconds.
        reopen_after: this many confident poses in a row that agree with each other overrule the
            last accepted one.
        lost_after_s: images without an accepted pose for this long mean LOST, seconds.
    """

    min_confidence: float
    max_speed: float
    max_turn_rate: float
    slack_m: float
    slack_rad: float
    timeout_s: float
    reopen_after: int
    lost_after_s: float


@dataclass(frozen=True)
class BodyPose:
    """Where the body was, its stamp being that of the image.

    Attributes:
        stamp: nanoseconds.
        epoch: number of the jumps in time before it; stamps compare within an epoch only.
        map_from_body: (4, 4), metres.
        covariance: (6, 6): x y z, then rotation about the fixed axes of the map; m2 and rad2.
    """

    stamp: int
    epoch: int
    map_from_body: FloatArray
    covariance: FloatArray


@dataclass(frozen=True)
class InitialPose:
    """Where somebody says that the body is, until the first pose agrees.

    Attributes:
        map_from_body: (4, 4), metres.
        covariance: (6, 6), as in `BodyPose`.
        states_height: z counts.
        heading_of: direction in the body, (3,), that points along the x axis of map_from_body on
            the ground; nothing else of the rotation counts then. None: all of it counts.
    """

    map_from_body: FloatArray
    covariance: FloatArray
    states_height: bool = True
    heading_of: FloatArray | None = None


@dataclass(frozen=True)
class Verdict:
    """The gate's answer to one pose.

    Attributes:
        reason: name of the counter; empty if the pose is accepted.
        text: why, for people; also of an accepted pose that overrules the last one.
    """

    reason: str = ''
    text: str = ''

    @property
    def accepted(self) -> bool:
        """Whether the pose is believed."""
        return not self.reason


@dataclass(frozen=True)
class _Anchor:
    """The pose that later ones are held against; its time is that of the first of them if None."""

    name: str
    pose: InitialPose
    stamp: int | None = None
    epoch: int | None = None


@dataclass
class _Memory:
    """What the gate knows.

    Attributes:
        anchor: that poses must fit.
        rival: the last of the jumps that were refused in a row.
        rival_count: how many of them agree with the one before.
        state: whether the last images had a pose.
        since: stamp of the last accepted pose, or of the first image without one.
    """

    anchor: _Anchor | None = None
    rival: _Anchor | None = None
    rival_count: int = 0
    state: Tracking = Tracking.WAITING
    since: int | None = None


class PoseGate:
    """Believes the first confident pose, and then those that motion can have led to.

    One thread judges; any thread may reset, or say where the body is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._memory = _Memory()

    @property
    def state(self) -> Tracking:
        """Whether the last images had a pose."""
        return self._memory.state

    def reset(self) -> None:
        """Forget every pose: the next confident one is believed."""
        with self._lock:
            self._memory = _Memory()

    def expect(self, pose: InitialPose) -> None:
        """Hold the next confident pose against this one."""
        with self._lock:
            self._memory = _Memory(anchor=_Anchor('the initial pose', pose))

    def judge(self, pose: BodyPose, confidence: float, limits: GateLimits) -> Verdict:
        """Decide about the pose of an image; an accepted one is what later ones must fit."""
        with self._lock:
            verdict = self._judge(pose, confidence, limits)
            if verdict.accepted:
                anchor = _anchored('the last pose', pose)
                self._memory = _Memory(anchor, state=Tracking.TRACKING, since=pose.stamp)
            else:
                self._miss(pose.stamp, limits)
            return verdict

    def miss(self, stamp: int, limits: GateLimits) -> None:
        """Note an image that has no pose at all."""
        with self._lock:
            self._miss(stamp, limits)

    def _judge(self, pose: BodyPose, confidence: float, limits: GateLimits) -> Verdict:
        if not (np.isfinite(pose.map_from_body).all() and np.isfinite(pose.covariance).all()):
            return Verdict('alignment', 'the pose or its covariance is not finite')
        # Written so that a confidence of NaN is refused, too.
        if not confidence >= limits.min_confidence:
            least = limits.min_confidence
            text = f'the confidence {confidence:.3f} is below min_confidence {least:.3f}'
            return Verdict('confidence', text)
        anchor = self._memory.anchor
        if anchor is None:
            return Verdict()
        if anchor.stamp is None:
            anchor = replace(anchor, stamp=pose.stamp, epoch=pose.epoch)
            self._memory.anchor = anchor
        contradiction = _contradiction(anchor, pose, limits)
        if not contradiction:
            return Verdict()
        return self._overrule(pose, contradiction, limits)

    def _overrule(self, pose: BodyPose, contradiction: str, limits: GateLimits) -> Verdict:
        """Refuse a jump, unless enough poses in a row have landed where it leads."""
        memory = self._memory
        agrees = memory.rival is not None and not _contradiction(memory.rival, pose, limits)
        memory.rival_count = memory.rival_count + 1 if agrees else 1
        memory.rival = _anchored('the pose before', pose)
        if memory.rival_count < limits.reopen_after:
            return Verdict('jump', contradiction)
        return Verdict(text=f'{memory.rival_count} poses agree with each other: {contradiction}')

    def _miss(self, stamp: int, limits: GateLimits) -> None:
        memory = self._memory
        if memory.since is None:
            memory.since = stamp
        if _seconds(memory.since, stamp) >= limits.lost_after_s:
            memory.state = Tracking.LOST


def _anchored(name: str, pose: BodyPose) -> _Anchor:
    return _Anchor(name, InitialPose(pose.map_from_body, pose.covariance), pose.stamp, pose.epoch)


def _seconds(stamp: int, other: int) -> float:
    return abs(other - stamp) / 1e9


def _contradiction(anchor: _Anchor, pose: BodyPose, limits: GateLimits) -> str:
    """Why a body cannot have moved from one pose to the other; empty if it can."""
    assert anchor.stamp is not None
    seconds = _seconds(anchor.stamp, pose.stamp)
    if anchor.epoch != pose.epoch or seconds >= limits.timeout_s:
        return ''
    where = f'from {anchor.name}, {seconds:.2f} s'
    # Coordinates near the end of the range overflow to inf or NaN, which no limit lets pass.
    with np.errstate(over='ignore', invalid='ignore'):
        distance, deviation = _distance(anchor.pose, pose)
        allowed = limits.max_speed * seconds + limits.slack_m + _SIGMAS * deviation
        if not distance <= allowed:
            return f'the pose is {distance:.2f} m {where} ago: motion allows {allowed:.2f} m'
        angle, deviation = _angle(anchor.pose, pose)
        allowed = limits.max_turn_rate * seconds + limits.slack_rad + _SIGMAS * deviation
        if not angle <= allowed:
            degrees = f'{np.degrees(angle):.1f} deg {where}'
            return f'the pose is turned {degrees} ago: motion allows {np.degrees(allowed):.1f} deg'
    return ''


def _distance(initial: InitialPose, pose: BodyPose) -> tuple[float, float]:
    """Distance of two positions, and its standard deviation, in metres."""
    offset = pose.map_from_body[:3, 3] - initial.map_from_body[:3, 3]
    if not initial.states_height:
        offset = offset * (1.0, 1.0, 0.0)
    covariance = initial.covariance[:3, :3] + pose.covariance[:3, :3]
    return _length_and_deviation(offset, covariance)


def _angle(initial: InitialPose, pose: BodyPose) -> tuple[float, float]:
    """Angle between two rotations, and its standard deviation, in radians."""
    covariance = initial.covariance[3:, 3:] + pose.covariance[3:, 3:]
    if initial.heading_of is None:
        difference = pose.map_from_body[:3, :3] @ initial.map_from_body[:3, :3].T
        return _length_and_deviation(cv2.Rodrigues(difference)[0].ravel(), covariance)
    looks = (pose.map_from_body[:3, :3] @ initial.heading_of)[:2]
    stated = initial.map_from_body[:2, 0]
    if np.linalg.norm(looks) < _LEAST_HORIZONTAL:
        return 0.0, 0.0
    x, y = stated @ looks, stated[0] * looks[1] - stated[1] * looks[0]
    return abs(float(np.arctan2(y, x))), float(np.sqrt(covariance[2, 2]))


def _length_and_deviation(vector: FloatArray, covariance: FloatArray) -> tuple[float, float]:
    """Length of a vector of this covariance, and the standard deviation along it."""
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        return 0.0, 0.0
    direction = vector / length
    return length, float(np.sqrt(np.maximum(direction @ covariance @ direction, 0.0)))
