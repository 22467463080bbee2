"""Runs a localizer over posed images and keeps the errors of every frame."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import PoseEstimate
from implicit_loc.network import SceneGeometry
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult, ShownFrame
from implicit_loc_trainer.evaluation.masks import MaskSource, no_masks
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m

ByteImage = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# The stages that precede every solver.
SHARED = ('preprocessing', 'network')

# Told of every frame that has a pose: frame, its image, and what came of it.
Observer = Callable[[Sample, ByteImage, PoseEstimate], None]


class PoseSource(Protocol):
    """What is evaluated; `implicit_loc.Localizer` is one."""

    @property
    def solver(self) -> str:
        """By which poses are found: a key of implicit_loc.solvers.SOLVERS."""

    def localize(
        self, image: ByteImage, camera: Camera, mask: Mask | None = None
    ) -> PoseEstimate | None:
        """The pose of one image; ImplicitLocError or None where there is none."""

    def predict(self, image: ByteImage, camera: Camera) -> SceneGeometry[NDArray[np.float32]]:
        """The network's prediction alone."""

    def solve(
        self,
        geometry: SceneGeometry[NDArray[np.float32]],
        camera: Camera,
        mask: Mask | None = None,
        solver: str | None = None,
    ) -> PoseEstimate:
        """The pose that follows from a prediction, by any solver."""


def evaluate(
    localizer: PoseSource,
    samples: Iterable[Sample],
    solvers: Sequence[str] = (),
    masks: MaskSource = no_masks,
    observe: Observer | None = None,
    shown: int = 3,
) -> Evaluation:
    """Localizes every sample; memory does not grow with images or geometry.

    Args:
        localizer: known errors and missing or non-finite poses make a frame lost.
        samples: images with true poses.
        solvers: further solvers to apply to the same predictions.
        masks: which pixels to ignore.
        observe: is told of every frame that has a pose.
        shown: how many of the best and of the worst frames keep their geometry.

    Raises:
        DataError: there are no samples, or an image or mask cannot be read: that is no lost
            frame.
    """
    frames: list[FrameResult] = []
    others: dict[str, list[FrameResult]] = {name: [] for name in solvers}
    best, worst = _Extremes(shown, -1.0), _Extremes(shown, 1.0)
    for sample in samples:
        image = sample.load_image()
        mask = masks(sample, image)
        result, estimate = _localize(localizer, sample, image, mask)
        frames.append(result)
        if others:
            for name, found in _solve(localizer, sample, image, mask, estimate, solvers):
                others[name].append(found)
        if estimate is not None:
            if observe is not None:
                observe(sample, image, estimate)
            frame = ShownFrame(result, sample, estimate)
            best.offer(frame)
            worst.offer(frame)
    if not frames:
        raise DataError('there are no frames to evaluate')
    return Evaluation(localizer.solver, frames, others, best.ordered(), worst.ordered())


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
    localizer: PoseSource, sample: Sample, image: ByteImage, mask: Mask | None
) -> tuple[FrameResult, PoseEstimate | None]:
    return _attempt(sample, lambda: localizer.localize(image, sample.camera, mask))


def _solve(
    localizer: PoseSource,
    sample: Sample,
    image: ByteImage,
    mask: Mask | None,
    estimate: PoseEstimate | None,
    solvers: Sequence[str],
) -> list[tuple[str, FrameResult]]:
    """What other solvers make of the prediction behind an estimate."""
    try:
        geometry = estimate.geometry if estimate else localizer.predict(image, sample.camera)
    except ImplicitLocError as error:
        return [(name, _lost(sample, _reason(error))) for name in solvers]
    # All solvers begin with the same prediction: what it took counts for each.
    before = {s: t for s, t in estimate.timings.items() if s in SHARED} if estimate else {}
    found = []
    for name in solvers:
        solve = partial(localizer.solve, geometry, sample.camera, mask, name)
        result, _ = _attempt(sample, solve, before)
        found.append((name, result))
    return found


def _attempt(
    sample: Sample,
    find: Callable[[], PoseEstimate | None],
    before: Mapping[str, float] | None = None,
) -> tuple[FrameResult, PoseEstimate | None]:
    """The result of one way to a pose, and the pose where it is one.

    Args:
        sample: that is localized.
        find: gives the pose.
        before: seconds of stages that came before `find`.
    """
    before = before or {}
    try:
        estimate = find()
    except ImplicitLocError as error:
        return _lost(sample, _reason(error)), None
    if estimate is None:
        return _lost(sample, 'no pose'), None
    if not np.isfinite(estimate.world_from_camera).all():
        return _lost(sample, 'the pose is not finite'), None
    true, pose = sample.world_from_camera, estimate.world_from_camera
    result = FrameResult(
        name=sample.name,
        timestamp=sample.timestamp,
        true_pose=true,
        estimated_pose=pose,
        covariance=estimate.covariance,
        translation_error_m=float(translation_error_m(true, pose)),
        rotation_error_deg=float(rotation_error_deg(true, pose)),
        timings={
            **before,
            **estimate.timings,
            'total': sum(before.values()) + estimate.timings['total'],
        },
        used_fallback=estimate.used_consensus,
        confidence=estimate.confidence,
        residuals=estimate.residuals,
    )
    return result, estimate


def _reason(error: ImplicitLocError) -> str:
    return f'{type(error).__name__}: {error}'


def _lost(sample: Sample, reason: str) -> FrameResult:
    return FrameResult(sample.name, sample.timestamp, sample.world_from_camera, lost_reason=reason)
