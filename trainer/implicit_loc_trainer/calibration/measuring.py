"""Localizes what calibration is fitted to: held-out frames, spoilt ones, and foreign images."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.confidence import Evidence
from implicit_loc.covariance import uncalibrated
from implicit_loc.errors import ImplicitLocError
from implicit_loc.landmark_alignment import LEAST_AGREEING_SHARE
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.calibration.degraded import CLEAN, Look, looks
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.trust import is_correct, pose_errors

FloatArray = NDArray[np.float64]

# Images a calibration localizes, at most about so many: a minute or two on a CPU core.
_MOST_IMAGES = 1200
_MOST_KINDS = 6

# A held-out frame whose landmarks are left aside, and the solver that does so.
CELLS = 'clean, cells alone'
_ON_CELLS = 'robust'


@dataclass(frozen=True)
class Trial:
    """One image that was localized.

    Attributes:
        kind: of the image; CLEAN is a held-out frame as it is, CELLS the same without landmarks.
        is_foreign: whether the image is not of the place.
        evidence: of the pose, with the covariance of an uncalibrated map.
        covariance: of the pose before calibration, (6, 6).
        error: of the pose, (6,), in the order of the covariance; None of a foreign image.
        is_right: whether the pose is within 25 cm and 10 degrees.
        on_landmarks: whether landmarks gave the pose, or the network's cells alone.
    """

    kind: str
    is_foreign: bool
    evidence: Evidence
    covariance: FloatArray
    error: FloatArray | None
    is_right: bool
    on_landmarks: bool


def measure(
    network: SceneNetwork,
    description: CheckpointDescription,
    samples: Iterable[Sample],
    count: int,
    data: str | Path,
    device: str = 'auto',
) -> list[Trial]:
    """Localizes held-out frames in many states.

    Args:
        network: in evaluation mode.
        description: of its checkpoint.
        samples: held-out frames with whole poses.
        count: how many they are.
        data: their recording.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.

    Returns:
        The images that have a pose; without one there is nothing to be confident of.

    Raises:
        ImplicitLocError: an image cannot be read, or the device does not exist.
    """
    localizer = Localizer(network, replace(description, calibration=Calibration()), device)
    kinds = int(np.clip((_MOST_IMAGES // max(count, 1) - 1) // 2, 1, _MOST_KINDS))
    trials = []
    for index, sample in enumerate(samples):
        for look in looks(sample, index, data, kinds):
            with suppress(ImplicitLocError):
                estimate = localizer.localize(look.image, sample.camera)
                trials.append(_trial(look, estimate))
                if look.kind == CLEAN:
                    alone = localizer.solve(estimate.geometry, sample.camera, solver=_ON_CELLS)
                    trials.append(_trial(replace(look, kind=CELLS), alone))
    return trials


def _trial(look: Look, estimate: PoseEstimate) -> Trial:
    error = None
    if look.world_from_camera is not None:
        error = pose_errors(look.world_from_camera, estimate.world_from_camera)
    on_landmarks = estimate.evidence.landmark_share >= LEAST_AGREEING_SHARE
    return Trial(
        kind=look.kind,
        is_foreign=error is None,
        evidence=estimate.evidence,
        covariance=uncalibrated(estimate.covariance, Calibration().factors(on_landmarks)),
        error=error,
        is_right=error is not None and bool(is_correct(error[None])[0]),
        on_landmarks=on_landmarks,
    )


def errors_and_covariances(trials: Sequence[Trial]) -> tuple[FloatArray, FloatArray]:
    """Errors (N, 6) and covariances (N, 6, 6) of those that are of the place."""
    known = [(trial.error, trial.covariance) for trial in trials if trial.error is not None]
    errors = np.array([error for error, _ in known]).reshape(-1, 6)
    return errors, np.array([covariance for _, covariance in known]).reshape(-1, 6, 6)
