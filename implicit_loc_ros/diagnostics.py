"""What the node reports on /diagnostics once a second.

The message begins with a state, which is also a value of its own:

| state | meaning |
|---|---|
| WAITING | no image comes, or no pose was accepted since the start, a reset or a jump in time |
| TRACKING | the pose of an image was published within `lost_after_s` |
| LOST | images come, but for `lost_after_s` no pose was accepted; nothing is published |

| level | condition | what the message says |
|---|---|---|
| ERROR | a defect was caught; its traceback is in the log | the error |
| ERROR | LOST | why the last image has no pose |
| ERROR | images came, and all of them were refused | the last reason |
| WARN | no image for two seconds | the topic and how many publish on it |
| WARN | images, but no CameraInfo | its topic |
| WARN | some images were refused, or a transform was missing | the last reason |
| WARN | images arrive at less than 60 % of the camera's rate | how to transport large images |
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from implicit_loc_ros.pose_gate import Tracking

# Images over which rates are taken.
_WINDOW_S = 5.0
_SILENCE_S = 2.0
_LOST_SHARE = 0.6
_FEWEST_FOR_RATE = 4
# Spread of the gaps between throttled images, in periods of the camera: one, and a little noise.
_THROTTLE_JITTER = 1.5


@dataclass
class _Second:
    """What happened since the last report."""

    answered: int = 0
    refused: int = 0
    defects: int = 0
    without_transform: int = 0
    timings: dict[str, list[float]] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Inputs:
    """State of the inputs at the moment of a report."""

    image_topic: str
    image_publishers: int
    image_reliable: bool
    camera_info_topic: str
    has_camera_info: bool
    device: str
    tracking: Tracking = Tracking.WAITING


class Statistics:
    """Counts what happens to images; the executor and the worker write, the report reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._answered = 0
        self._by_consensus = 0
        self._overtaken = 0
        self._time_jumps = 0
        self._without_transform = 0
        self._gate_reopened = 0
        self._refused: Counter[str] = Counter()
        self._confidence: float | None = None
        self._last_error = ''
        self._second = _Second()
        self._started = time.monotonic()
        self._answered_at = self._started
        self._image_times: deque[tuple[float, int]] = deque()
        self._camera_info_times: deque[float] = deque()

    def image_received(self, stamp: int) -> None:
        """Count an image by its stamp in nanoseconds."""
        with self._lock:
            self._received += 1
            self._image_times.append((time.monotonic(), stamp))

    def camera_info_received(self) -> None:
        """Count a CameraInfo."""
        with self._lock:
            self._camera_info_times.append(time.monotonic())

    def overtaken(self) -> None:
        """Count an image that a newer one replaced before it was looked at."""
        with self._lock:
            self._overtaken += 1

    def time_jumped(self) -> None:
        """Count a jump back in time; rates begin anew."""
        with self._lock:
            self._time_jumps += 1
            self._image_times.clear()
            self._camera_info_times.clear()

    def refused(self, reason: str, text: str) -> None:
        """Count an image without an answer; 'defect' is an error that nobody foresaw."""
        with self._lock:
            self._refused[reason] += 1
            self._last_error = text
            self._second.refused += 1
            self._second.defects += reason == 'defect'

    def answered(
        self,
        confidence: float,
        timings: Mapping[str, float],
        age_s: float,
        used_consensus: bool = False,
    ) -> None:
        """Count a published pose with its seconds per stage and its age at publication."""
        with self._lock:
            self._answered += 1
            self._by_consensus += used_consensus
            self._answered_at = time.monotonic()
            self._confidence = confidence
            self._second.answered += 1
            self._second.ages.append(age_s)
            for stage, seconds in timings.items():
                self._second.timings.setdefault(stage, []).append(seconds)

    def gate_reopened(self) -> None:
        """Count poses that overruled the last accepted one."""
        with self._lock:
            self._gate_reopened += 1

    def transform_missing(self, text: str) -> None:
        """Count a published pose whose transform could not be published."""
        with self._lock:
            self._without_transform += 1
            self._second.without_transform += 1
            self._last_error = text

    def report(self, name: str, inputs: Inputs) -> DiagnosticStatus:
        """Status of the last second; begins the next one."""
        with self._lock:
            second, self._second = self._second, _Second()
            rates = self._rates()
            state = self._state(inputs.tracking)
            level, message = self._judge(second, rates, inputs, state)
            values = {'state': state.value, **self._values(second, rates, inputs)}
        return DiagnosticStatus(
            level=level,
            name=name,
            message=': '.join(part for part in (state.value, message) if part),
            hardware_id=inputs.device,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _rates(self) -> tuple[float, float]:
        """Images per second: those that arrived, and those that the camera made."""
        now = time.monotonic()
        images, infos = self._image_times, self._camera_info_times
        while images and images[0][0] < now - _WINDOW_S:
            images.popleft()
        while infos and infos[0] < now - _WINDOW_S:
            infos.popleft()
        arrived = len(images) / min(_WINDOW_S, max(now - self._started, 1.0))
        if len(images) < _FEWEST_FOR_RATE:
            return arrived, 0.0
        gaps = np.diff([stamp for _, stamp in images]) / 1e9
        mean, (short, long) = gaps.mean(), np.percentile(gaps, (20, 80))
        # Lost images leave gaps of several periods; the short ones are the camera's own. The
        # share holds at any playback speed of a bag, as stamps are compared with stamps only.
        share = float(mean / max(short, 1e-9))
        # A throttle takes every nth image, give or take one, and may leave every CameraInfo;
        # losses leave gaps of any length.
        infos_per_image = len(infos) / len(images)
        if (long - short) * infos_per_image > _THROTTLE_JITTER * mean:
            share = max(share, infos_per_image)
        return arrived, arrived * share

    def _state(self, tracking: Tracking) -> Tracking:
        """The gate's state, which only images change, or WAITING if none come."""
        silent = time.monotonic() - self._answered_at > _WINDOW_S
        if not self._image_times or (tracking is Tracking.TRACKING and silent):
            return Tracking.WAITING
        return tracking

    def _judge(
        self, second: _Second, rates: tuple[float, float], inputs: Inputs, state: Tracking
    ) -> tuple[bytes, str]:
        if second.defects:
            return DiagnosticStatus.ERROR, f'a defect was caught: {self._last_error}'
        if state is Tracking.LOST:
            return DiagnosticStatus.ERROR, f'no pose is accepted: {self._last_error}'
        if second.refused and not second.answered:
            return DiagnosticStatus.ERROR, f'all images are refused: {self._last_error}'
        if not self._image_times and time.monotonic() - self._started > _SILENCE_S:
            return DiagnosticStatus.WARN, (
                f'no image on {inputs.image_topic} ({inputs.image_publishers} publishers): check '
                'the remapping, image_transport and the QoS'
            )
        if self._image_times and not inputs.has_camera_info:
            return DiagnosticStatus.WARN, f'no CameraInfo on {inputs.camera_info_topic}'
        if second.refused or second.without_transform:
            return DiagnosticStatus.WARN, self._last_error
        arrived, made = rates
        if arrived < _LOST_SHARE * made:
            return DiagnosticStatus.WARN, (
                f'{arrived:.1f} images/s arrive of {made:.1f}: start the camera driver with '
                'config/fastdds_large_images.xml, let it publish reliably, '
                'or use compressed images'
            )
        return DiagnosticStatus.OK, ''

    def _values(
        self, second: _Second, rates: tuple[float, float], inputs: Inputs
    ) -> dict[str, str]:
        values = {
            'images received': str(self._received),
            'poses published': str(self._answered),
            'poses from the consensus': str(self._by_consensus),
            'images overtaken by newer ones': str(self._overtaken),
            'images refused': str(sum(self._refused.values())),
            **{f'refused: {reason}': str(n) for reason, n in sorted(self._refused.items())},
            'poses without a transform': str(self._without_transform),
            'last pose overruled': str(self._gate_reopened),
            'jumps back in time': str(self._time_jumps),
            'last confidence': '' if self._confidence is None else f'{self._confidence:.3f}',
            'last error': self._last_error,
            'input rate (Hz)': f'{rates[0]:.1f}',
            'camera rate (Hz)': f'{rates[1]:.1f}' if rates[1] else '',
            'image QoS': 'reliable' if inputs.image_reliable else 'best_effort',
            'device': inputs.device,
        }
        for stage, seconds in second.timings.items():
            values[f'{stage} (ms)'] = f'{1e3 * sum(seconds) / len(seconds):.1f}'
        if second.ages:
            values['age of the image when published (ms)'] = f'{1e3 * max(second.ages):.1f}'
        return values
