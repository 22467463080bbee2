"""Localizes the images of a bag one by one; what stays in memory does not grow with them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc.localizer import PoseEstimate
from implicit_loc_trainer.bag_evaluation.frame_pictures import FramePictures, FrameViews
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult
from implicit_loc_trainer.evaluation.running import PoseSource, evaluate
from implicit_loc_trainer.tracking import tracked

ByteImage = NDArray[np.uint8]

# So many unreadable images before the first that is not are no accident.
_HOPELESS = 10
# The names of the node's counters on /diagnostics.
_REASONS = {
    'DataError': 'image',
    'ImageError': 'image',
    'CameraError': 'camera',
    'AlignmentError': 'alignment',
}
LOW_CONFIDENCE = 'confidence'
_NO_POSE = 'alignment'


@dataclass(frozen=True)
class BagEvaluation:
    """What became of the images of a bag.

    Attributes:
        evaluation: in the order of the stamps; images that cannot be read are lost frames.
        views: pictures of some of them, by name.
        seconds_per_frame: from one image to the next: reading, decoding, localizing, drawing.
    """

    evaluation: Evaluation
    views: FrameViews
    seconds_per_frame: float


def evaluate_bag(
    localizer: PoseSource, samples: Sequence[Sample], pictures: FramePictures, shown: int = 12
) -> BagEvaluation:
    """Localizes all images.

    Args:
        localizer: warmed up, so that the first image's time is like the others'.
        samples: at least one.
        pictures: collects those of some frames.
        shown: how many of the best and of the worst frames keep their prediction.

    Raises:
        DataError: no image can be read; says why not the first.
    """
    unreadable: list[FrameResult] = []
    start = time.perf_counter()

    def observe(sample: Sample, image: ByteImage, estimate: PoseEstimate) -> None:
        pictures.add_geometry(sample.name, estimate.geometry)

    readable = _readable(samples, pictures, unreadable)
    found = evaluate(localizer, readable, observe=observe, shown=shown)
    frames = sorted([*found.frames, *unreadable], key=lambda frame: frame.timestamp)
    seconds = (time.perf_counter() - start) / len(frames)
    for frame in (*found.best, *found.worst):
        pictures.add(frame.sample.name, frame.sample.load_image(), frame.estimate.geometry)
    return BagEvaluation(replace(found, frames=frames), pictures.views(), seconds)


def rejection(frame: FrameResult, min_confidence: float) -> str:
    """Why a robot would not get this pose; empty where it would.

    Returns:
        'image' (it cannot be read or has a wrong size), 'camera' (unlike the training camera),
        'alignment' (there is no pose), 'confidence' (below `min_confidence`), or 'other'.
    """
    if frame.estimated_pose is None:
        error, colon, _ = frame.lost_reason.partition(':')
        return _REASONS.get(error, 'other') if colon else _NO_POSE
    if frame.covariance is None or not np.isfinite(frame.covariance).all():
        return _NO_POSE
    # Written so that a confidence of NaN is refused, too.
    if frame.confidence is None or not frame.confidence >= min_confidence:
        return LOW_CONFIDENCE
    return ''


def _readable(
    samples: Sequence[Sample], pictures: FramePictures, unreadable: list[FrameResult]
) -> Iterator[Sample]:
    """The samples whose image can be read, with it; the others become lost frames."""
    first_error: DataError | None = None
    is_any_readable = False
    for sample in tracked(samples, 'localizing'):
        try:
            image = sample.load_image()
        except DataError as error:
            first_error = first_error or error
            reason = f'{type(error).__name__}: {error}'
            true = sample.world_from_camera
            lost = FrameResult(sample.name, sample.timestamp, true, lost_reason=reason)
            unreadable.append(lost)
            if not is_any_readable and len(unreadable) >= _HOPELESS:
                break
            continue
        is_any_readable = True
        pictures.add_image(sample.name, image)
        yield replace(sample, load_image=_Once(image, sample.load_image))
    if first_error is not None and not is_any_readable:
        raise first_error


class _Once:
    """An image that is handed out once; whoever wants it again has it read again."""

    def __init__(self, image: ByteImage, load: Callable[[], ByteImage]) -> None:
        self._image: ByteImage | None = image
        self._load = load

    def __call__(self) -> ByteImage:
        image, self._image = self._image, None
        return self._load() if image is None else image
