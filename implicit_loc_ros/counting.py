"""Counts what happens to images; `diagnostics` tells what that means."""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

# Images over which rates are taken.
WINDOW_S = 5.0
_FEWEST_FOR_RATE = 4
# Spread of the gaps between throttled images, in periods of the camera: one, and a little noise.
_THROTTLE_JITTER = 1.5


@dataclass(frozen=True)
class Trust:
    """How sure a published pose is.

    Attributes:
        confidence: 0 to 1.
        deviation_m: largest standard deviation of the position along the axes of the map.
        deviation_rad: the same, about them.
    """

    confidence: float
    deviation_m: float
    deviation_rad: float


@dataclass
class Second:
    """What happened since the last report.

    Attributes:
        timings: seconds of each stage of each answered image.
        ages: of the images when their poses were published, seconds of the node's clock.
    """

    answered: int = 0
    refused: int = 0
    defects: int = 0
    without_transform: int = 0
    timings: dict[str, list[float]] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)


@dataclass
class Counts:
    """What happened since the activation."""

    received: int = 0
    answered: int = 0
    by_consensus: int = 0
    overtaken: int = 0
    time_jumps: int = 0
    standstills: int = 0
    without_transform: int = 0
    gate_reopened: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Summary:
    """One report.

    Attributes:
        second: since the last one.
        counts: since the activation.
        arrived_hz: images that arrive per second.
        made_hz: images per second that the camera makes, judging by their stamps; 0 if unknown.
        images_come: whether any arrived within the window.
        camera_infos_come: likewise.
        since_image_s: seconds since the last image, a standstill, or the activation.
        silent_since_standstill: whether no image has come since the process stood still.
        since_answer_s: seconds since the last published pose, or since the activation.
        first_image_s: seconds from the activation to the first image; None before.
        first_pose_s: seconds from the activation to the first published pose; None before.
        trust: of the last published pose.
        last_error: why the last image that was refused has no pose.
    """

    second: Second
    counts: Counts
    arrived_hz: float
    made_hz: float
    images_come: bool
    camera_infos_come: bool
    since_image_s: float
    silent_since_standstill: bool
    since_answer_s: float
    first_image_s: float | None
    first_pose_s: float | None
    trust: Trust | None
    last_error: str


class Statistics:
    """The executor and the worker write, the report reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        self._second = Second()
        self._trust: Trust | None = None
        self._last_error = ''
        self._started = time.monotonic()
        self._answered_at = self._image_at = self._started
        self._silent_since_standstill = False
        self._first_image_s: float | None = None
        self._first_pose_s: float | None = None
        self._image_times: deque[tuple[float, int]] = deque()
        self._camera_info_times: deque[float] = deque()

    def image_received(self, stamp: int) -> None:
        """Count an image by its stamp in nanoseconds."""
        with self._lock:
            self._counts.received += 1
            self._image_at = time.monotonic()
            self._silent_since_standstill = False
            if self._first_image_s is None:
                self._first_image_s = self._image_at - self._started
            self._image_times.append((self._image_at, stamp))

    def camera_info_received(self) -> None:
        """Count a CameraInfo."""
        with self._lock:
            self._camera_info_times.append(time.monotonic())

    def overtaken(self) -> None:
        """Count an image that a newer one replaced before it was looked at."""
        with self._lock:
            self._counts.overtaken += 1

    def skipped(self, reason: str) -> None:
        """Count an image that nobody wanted to be looked at."""
        with self._lock:
            self._counts.skipped[reason] += 1

    def time_jumped(self) -> None:
        """Count a jump back in time; rates begin anew."""
        with self._lock:
            self._counts.time_jumps += 1
            self._forget_rates()

    def stood_still(self) -> None:
        """Count a standstill of the process; rates begin anew."""
        with self._lock:
            self._counts.standstills += 1
            self._image_at = time.monotonic()
            self._silent_since_standstill = True
            self._forget_rates()

    @property
    def since_image_s(self) -> float:
        """Seconds since the last image, a standstill, or the activation."""
        with self._lock:
            return time.monotonic() - self._image_at

    def refused(self, reason: str, text: str) -> None:
        """Count an image without an answer; 'defect' is an error that nobody foresaw."""
        with self._lock:
            self._counts.refused[reason] += 1
            self._last_error = text
            self._second.refused += 1
            self._second.defects += reason == 'defect'

    def answered(
        self,
        trust: Trust,
        timings: Mapping[str, float],
        age_s: float,
        used_consensus: bool = False,
    ) -> None:
        """Count a published pose with its seconds per stage and its age at publication."""
        with self._lock:
            self._counts.answered += 1
            self._counts.by_consensus += used_consensus
            self._answered_at = time.monotonic()
            if self._first_pose_s is None:
                self._first_pose_s = self._answered_at - self._started
            self._trust = trust
            self._second.answered += 1
            self._second.ages.append(age_s)
            for stage, seconds in timings.items():
                self._second.timings.setdefault(stage, []).append(seconds)

    def gate_reopened(self) -> None:
        """Count poses that overruled the last accepted one."""
        with self._lock:
            self._counts.gate_reopened += 1

    def transform_missing(self, text: str) -> None:
        """Count a published pose whose transform could not be published."""
        with self._lock:
            self._counts.without_transform += 1
            self._second.without_transform += 1
            self._last_error = text

    def summary(self) -> Summary:
        """What happened; begins the next second."""
        with self._lock:
            second, self._second = self._second, Second()
            arrived, made = self._rates()
            now = time.monotonic()
            counts = Counts(**vars(self._counts))
            counts.refused, counts.skipped = counts.refused.copy(), counts.skipped.copy()
            return Summary(
                second=second,
                counts=counts,
                arrived_hz=arrived,
                made_hz=made,
                images_come=bool(self._image_times),
                camera_infos_come=bool(self._camera_info_times),
                since_image_s=now - self._image_at,
                silent_since_standstill=self._silent_since_standstill,
                since_answer_s=now - self._answered_at,
                first_image_s=self._first_image_s,
                first_pose_s=self._first_pose_s,
                trust=self._trust,
                last_error=self._last_error,
            )

    def _forget_rates(self) -> None:
        self._image_times.clear()
        self._camera_info_times.clear()

    def _rates(self) -> tuple[float, float]:
        """Images per second: those that arrived, and those that the camera made."""
        now = time.monotonic()
        images, infos = self._image_times, self._camera_info_times
        while images and images[0][0] < now - WINDOW_S:
            images.popleft()
        while infos and infos[0] < now - WINDOW_S:
            infos.popleft()
        arrived = len(images) / min(WINDOW_S, max(now - self._started, 1.0))
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
