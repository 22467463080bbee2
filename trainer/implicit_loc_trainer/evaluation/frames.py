"""Runs a localizer over posed images and keeps the errors of every frame."""

import heapq
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import PoseEstimate
from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.evaluation.metrics import (
    ErrorSummary,
    rotation_error_deg,
    summarize,
    translation_error_m,
)
from implicit_loc_trainer.evaluation.pnp import solve_pnp

FloatArray = NDArray[np.float64]


class PoseSource(Protocol):
    """What is evaluated; `implicit_loc.Localizer` is one."""

    def localize(self, image: NDArray[np.uint8], camera: Camera) -> PoseEstimate | None:
        """The pose of one image; ImplicitLocError or None where there is none."""


@dataclass(frozen=True)
class FrameResult:
    """Outcome of one frame.

    Attributes:
        name: of the frame.
        timestamp: seconds from the start of the recording.
        true_pose: world_from_camera of the recording, (4, 4), metres.
        estimated_pose: world_from_camera, (4, 4), metres; None where the frame is lost.
        translation_error_m: infinite where the frame is lost.
        rotation_error_deg: infinite where the frame is lost.
        seconds: from image to pose; NaN where the frame is lost.
        confidence: in [0, 1]; None where the frame is lost, and for poses that have none.
        residuals: None where the frame is lost, and for poses that have none.
        lost_reason: empty where there is a pose.
    """

    name: str
    timestamp: float
    true_pose: FloatArray
    estimated_pose: FloatArray | None = None
    translation_error_m: float = math.inf
    rotation_error_deg: float = math.inf
    seconds: float = math.nan
    confidence: float | None = None
    residuals: ResidualStatistics | None = None
    lost_reason: str = ''


@dataclass(frozen=True)
class ShownFrame:
    """One of the best or worst frames, with what is needed to draw it."""

    result: FrameResult
    sample: Sample
    estimate: PoseEstimate


@dataclass(frozen=True)
class Evaluation:
    """Results of all frames in their order.

    Attributes:
        frames: by the localizer.
        pnp: by PnP + RANSAC on the same world points; empty where that was not asked for.
        best: the localized frames with the smallest translation errors, best first.
        worst: the localized frames with the largest translation errors, worst first.
    """

    frames: list[FrameResult]
    pnp: list[FrameResult]
    best: list[ShownFrame]
    worst: list[ShownFrame]


def evaluate(
    localizer: PoseSource, samples: Iterable[Sample], pnp_stride: int | None = None, shown: int = 3
) -> Evaluation:
    """Localizes every sample; memory does not grow with images or geometry.

    Args:
        localizer: known errors and missing or non-finite poses make a frame lost.
        samples: images with true poses.
        pnp_stride: input pixels per output cell; where given, PnP is solved as well.
        shown: how many of the best and of the worst frames keep their geometry.

    Raises:
        DataError: there are no samples, or an image cannot be read: that is no lost frame.
    """
    frames: list[FrameResult] = []
    pnp: list[FrameResult] = []
    best, worst = _Extremes(shown, -1.0), _Extremes(shown, 1.0)
    for sample in samples:
        image = sample.load_image()
        result, estimate = _localize(localizer, sample, image)
        frames.append(result)
        if pnp_stride is not None:
            pnp.append(_solve_pnp(sample, estimate, result.lost_reason, pnp_stride))
        if estimate is not None:
            frame = ShownFrame(result, sample, estimate)
            best.offer(frame)
            worst.offer(frame)
    if not frames:
        raise DataError('there are no frames to evaluate')
    return Evaluation(frames, pnp, best.ordered(), worst.ordered())


def summary(frames: Sequence[FrameResult]) -> ErrorSummary:
    """Figures over all frames, lost ones included."""
    return summarize(
        np.array([frame.translation_error_m for frame in frames]),
        np.array([frame.rotation_error_deg for frame in frames]),
    )


def median_ms(frames: Sequence[FrameResult]) -> float:
    """Median milliseconds from image to pose over the localized frames; NaN without any."""
    seconds = [frame.seconds for frame in frames if math.isfinite(frame.seconds)]
    return 1000.0 * float(np.median(seconds)) if seconds else math.nan


class _Extremes:
    """The `size` frames of the largest sign * translation error seen so far."""

    def __init__(self, size: int, sign: float) -> None:
        self._size = size
        self._sign = sign
        # The counter decides between equal errors: frames themselves have no order.
        self._heap: list[tuple[float, int, ShownFrame]] = []
        self._counter = 0

    def offer(self, frame: ShownFrame) -> None:
        self._counter += 1
        key = self._sign * frame.result.translation_error_m
        heapq.heappush(self._heap, (key, -self._counter, frame))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)

    def ordered(self) -> list[ShownFrame]:
        return [frame for _, _, frame in sorted(self._heap, key=lambda entry: entry[:2])][::-1]


def _localize(
    localizer: PoseSource, sample: Sample, image: NDArray[np.uint8]
) -> tuple[FrameResult, PoseEstimate | None]:
    try:
        estimate = localizer.localize(image, sample.camera)
    except ImplicitLocError as error:
        return _lost(sample, f'{type(error).__name__}: {error}'), None
    if estimate is None:
        return _lost(sample, 'no pose'), None
    if not np.isfinite(estimate.world_from_camera).all():
        return _lost(sample, 'the pose is not finite'), None
    result = _found(
        sample,
        estimate.world_from_camera,
        seconds=estimate.timings['total'],
        confidence=estimate.confidence,
        residuals=estimate.residuals,
    )
    return result, estimate


def _solve_pnp(
    sample: Sample, estimate: PoseEstimate | None, lost_reason: str, stride: int
) -> FrameResult:
    if estimate is None:
        return _lost(sample, lost_reason)
    start = time.perf_counter()
    pose = solve_pnp(estimate.geometry.world_points, estimate.camera, stride)
    if pose is None:
        return _lost(sample, 'too few world points agree on a pose')
    # PnP takes the place of the alignment: both are timed from the image on.
    until_geometry = estimate.timings['preprocessing'] + estimate.timings['network']
    return _found(sample, pose, seconds=until_geometry + time.perf_counter() - start)


def _found(
    sample: Sample,
    pose: FloatArray,
    seconds: float,
    confidence: float | None = None,
    residuals: ResidualStatistics | None = None,
) -> FrameResult:
    return FrameResult(
        name=sample.name,
        timestamp=sample.timestamp,
        true_pose=sample.world_from_camera,
        estimated_pose=pose,
        translation_error_m=float(translation_error_m(sample.world_from_camera, pose)),
        rotation_error_deg=float(rotation_error_deg(sample.world_from_camera, pose)),
        seconds=seconds,
        confidence=confidence,
        residuals=residuals,
    )


def _lost(sample: Sample, reason: str) -> FrameResult:
    return FrameResult(sample.name, sample.timestamp, sample.world_from_camera, lost_reason=reason)
