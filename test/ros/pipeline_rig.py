"""A pipeline with everything around it replaced by plain objects, for its tests."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from implicit_loc_ros.counting import Statistics
from implicit_loc_ros.diagnostics import Inputs, status_of
from implicit_loc_ros.frames import PublishedPose, TransformError
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.pipeline import Frame, Pipeline, Surroundings
from implicit_loc_ros.pose_gate import PoseGate
from implicit_loc_ros.stamps import StampGate
from implicit_loc_ros.throttled_log import ThrottledLog
from implicit_loc_ros.views import View
from implicit_loc_ros.waiting_callers import WaitingCallers

INPUTS = Inputs(
    image_topic='/image',
    image_publishers=1,
    image_reliable=True,
    camera_info_topic='/camera_info',
    has_camera_info=True,
    device='cpu',
)


def estimate(**changes: Any) -> SimpleNamespace:
    """What a localizer answers: the identity, confident."""
    values = {
        'world_from_camera': np.eye(4),
        'covariance': np.eye(6) * 0.01,
        'confidence': 0.8,
        'used_consensus': False,
        'timings': {'network': 0.01, 'total': 0.02},
        **changes,
    }
    return SimpleNamespace(**values)


IDENTITY = np.eye(4)


class Rig:
    """A pipeline with everything around it replaced by plain objects."""

    def __init__(
        self, answer: Callable[[], Any], map_from_world: Any = IDENTITY, **parameters: Any
    ) -> None:
        self.published: list[Any] = []
        self.lines: list[str] = []
        self.statistics = Statistics()
        self.stamp_gate = StampGate()
        self.pose_gate = PoseGate()
        self.missing = ''
        self.parameters = Parameters(**parameters)
        self.news: list[str] = []
        logger = SimpleNamespace(
            warning=self.lines.append, error=self.lines.append, info=self.news.append
        )
        self.callers = WaitingCallers()
        self.watched = False
        self.views: list[View] = []
        around = Surroundings(
            frames=self,  # type: ignore[arg-type]
            stamp_gate=self.stamp_gate,
            pose_gate=self.pose_gate,
            statistics=self.statistics,
            callers=self.callers,
            log=ThrottledLog(logger),
            outputs=self,  # type: ignore[arg-type]
            parameters=lambda: self.parameters,
            now=lambda: 2_000_000_000,
        )
        localizer = SimpleNamespace(
            localize=lambda image, camera: answer(),
            settle=lambda: None,
            description=SimpleNamespace(network=SimpleNamespace(stride=8)),
            landmarks=None,
        )
        self.pipeline = Pipeline(localizer, np.array(map_from_world), around)  # type: ignore[arg-type]

    def publish(self, image: Any, pose: PublishedPose, frames: Any, epoch: int) -> None:
        """As Outputs."""
        self.published.append((image.header.stamp, pose))

    def show(self, make: Callable[[], View]) -> None:
        """As Outputs."""
        if self.watched:
            self.views.append(make())

    def publishable(self, pose: Any, covariance: Any, frame: str, stamp: int) -> PublishedPose:
        """As Frames."""
        if self.missing == 'extrinsic':
            raise TransformError('no extrinsic')
        return PublishedPose(pose, covariance, None, self.missing)

    def values(self) -> dict[str, str]:
        """Of a report on /diagnostics."""
        status = status_of('node', self.statistics.summary(), INPUTS)
        return {v.key: v.value for v in status.values}


def raising(error: Exception) -> Callable[[], Any]:
    """A localizer that raises."""

    def answer() -> Any:
        raise error

    return answer


def broken(**changes: Any) -> Callable[[], Any]:
    """A localizer whose answers have these changes."""
    return lambda: estimate(**changes)


def frames(messages: SimpleNamespace, count: int, first: int = 0) -> list[Frame]:
    """At 10 Hz, from second 2 on."""
    stamps = [2_000_000_000 + 100_000_000 * (first + i) for i in range(count)]
    return [Frame(messages.image(stamp), messages.camera_info(), epoch=0) for stamp in stamps]


def at(x: float, **changes: Any) -> SimpleNamespace:
    """An answer: the camera is at x."""
    moved = np.eye(4)
    moved[0, 3] = x
    return estimate(world_from_camera=moved, covariance=np.eye(6) * 1e-4, **changes)
