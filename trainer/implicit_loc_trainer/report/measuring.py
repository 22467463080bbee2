"""Everything that a report shows, measured with a checkpoint on a recording."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.evaluation.frames import (
    Evaluation,
    FrameResult,
    ShownFrame,
)
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.report.point_cloud import PointCloud, frame_cloud, gather

FloatArray = NDArray[np.float64]

# Beside the localizer's own solver: with the predicted depths alone, and without them.
COMPARED = ('weighted', 'pnp_ransac')

# More points make the page larger and no clearer.
_MOST_POINTS = 60_000
_MOST_MAPPED_FRAMES = 150
_SHOWN_FRAMES = 3
# The worst frames are often neighbours: so many are kept to choose from, so far apart in time.
_SHOWN_FROM = 40
_APART = 0.05
# Radians that count as much as a metre where the nearest training frame is looked for.
_METRES_PER_RADIAN = 1.0


@dataclass(frozen=True)
class Measured:
    """What a report shows.

    Attributes:
        description: of the checkpoint.
        held_out: results on frames that were not learned from.
        held_out_of: how many such frames the recording has; those measured are evenly spaced.
        known: results on some of the frames that were learned from; best, worst and solvers empty.
        training_poses: world_from_camera of all training frames, (N, 4, 4).
        cloud: the map.
        nearest_m: median distance from a held-out frame to its nearest training frame.
        nearest_deg: median angle between the two.
    """

    description: CheckpointDescription
    held_out: Evaluation
    held_out_of: int
    known: list[FrameResult]
    training_poses: FloatArray
    cloud: PointCloud
    nearest_m: float
    nearest_deg: float


# Wraps a sequence and shows how far the iteration has come: (frames, what is done with them).
Track = Callable[[Sequence[Sample], str], Iterable[Sample]]


def measure(
    localizer: Localizer,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    most_held_out: int,
    track: Track,
    most_mapped: int = _MOST_MAPPED_FRAMES,
) -> Measured:
    """Localizes held-out frames and maps training frames.

    Args:
        localizer: with the checkpoint.
        training: all frames that were learned from.
        held_out: all other frames, at least one.
        most_held_out: so many of them are localized at most, evenly spaced.
        track: shows the progress.
        most_mapped: so many training frames are mapped at most, evenly spaced.

    Raises:
        DataError: an image cannot be read.
    """
    chosen = thinned(held_out, most_held_out)
    evaluation = evaluate(
        localizer,
        track(chosen, 'localizing held-out frames'),
        COMPARED,
        shown=_SHOWN_FROM,
    )
    evaluation = replace(
        evaluation, best=apart(evaluation.best, chosen), worst=apart(evaluation.worst, chosen)
    )
    clouds: list[PointCloud] = []

    def keep(sample: Sample, image: NDArray[np.uint8], estimate: PoseEstimate) -> None:
        clouds.append(frame_cloud(estimate.geometry, image, sample, localizer.description))

    mapped = thinned(training, most_mapped)
    known = evaluate(localizer, track(mapped, 'mapping'), observe=keep, shown=0).frames
    poses = np.stack([sample.world_from_camera for sample in training])
    nearest_m, nearest_deg = _nearest(poses, [sample.world_from_camera for sample in chosen])
    return Measured(
        description=localizer.description,
        held_out=evaluation,
        held_out_of=len(held_out),
        known=known,
        training_poses=poses,
        cloud=gather(clouds, _MOST_POINTS, voxel_m=0.01),
        nearest_m=nearest_m,
        nearest_deg=nearest_deg,
    )


def thinned(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most `most` of them, evenly spaced."""
    return samples[:: -(-len(samples) // most)]


def apart(frames: Sequence[ShownFrame], samples: Sequence[Sample]) -> list[ShownFrame]:
    """The first few of the frames that are not close to one another in time.

    Args:
        frames: in the order of preference.
        samples: all that they were chosen from.
    """
    stamps = [sample.timestamp for sample in samples]
    gap = _APART * (max(stamps) - min(stamps))
    chosen: list[ShownFrame] = []
    for frame in frames:
        if all(abs(frame.sample.timestamp - other.sample.timestamp) >= gap for other in chosen):
            chosen.append(frame)
    return chosen[:_SHOWN_FRAMES]


def _nearest(known: FloatArray, poses: Sequence[FloatArray]) -> tuple[float, float]:
    """Median distance (metres) and angle (degrees) from poses to the nearest known one."""
    distances, angles = [], []
    for pose in poses:
        metres = translation_error_m(known, pose)
        degrees = rotation_error_deg(known, pose)
        nearest = int(np.argmin(metres + _METRES_PER_RADIAN * np.radians(degrees)))
        distances.append(metres[nearest])
        angles.append(degrees[nearest])
    return float(np.median(distances)), float(np.median(angles))
