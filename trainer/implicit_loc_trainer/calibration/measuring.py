"""Localizes what calibration is fitted to: held-out frames, spoilt ones, and foreign images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.calibration import Calibration
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.confidence import Evidence
from implicit_loc.covariance import uncalibrated
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.calibration.degraded import CLEAN, Look, looks
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.trust import is_correct, pose_errors

FloatArray = NDArray[np.float64]

# Images a calibration localizes, at most about so many: a minute or two on a CPU core.
_MOST_IMAGES = 1200
_MOST_KINDS = 6


@dataclass(frozen=True)
class Trial:
    """One image that was localized.

    Attributes:
        kind: of the image; CLEAN is a held-out frame as it is.
        is_foreign: whether the image is not of the place.
        evidence: of the pose, with the covariance of an uncalibrated map.
        covariance: of the pose before calibration, (6, 6).
        error: of the pose, (6,), in the order of the covariance; None of a foreign image.
        is_right: whether the pose is within 25 cm and 10 degrees.
    """

    kind: str
    is_foreign: bool
    evidence: Evidence
    covariance: FloatArray
    error: FloatArray | None
    is_right: bool


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
    usual = Calibration()
    localizer = Localizer(network, replace(description, calibration=usual), device)
    kinds = int(np.clip((_MOST_IMAGES // max(count, 1) - 1) // 2, 1, _MOST_KINDS))
    trials = []
    for index, sample in enumerate(samples):
        for look in looks(sample, index, data, kinds):
            try:
                trials.append(_trial(localizer, sample, look, usual))
            except ImplicitLocError:
                continue
    return trials


def _trial(localizer: Localizer, sample: Sample, look: Look, usual: Calibration) -> Trial:
    estimate = localizer.localize(look.image, sample.camera)
    error = None
    if look.world_from_camera is not None:
        error = pose_errors(look.world_from_camera, estimate.world_from_camera)
    return Trial(
        kind=look.kind,
        is_foreign=error is None,
        evidence=estimate.evidence,
        covariance=uncalibrated(estimate.covariance, usual),
        error=error,
        is_right=error is not None and bool(is_correct(error[None])[0]),
    )


def errors_and_covariances(trials: Sequence[Trial]) -> tuple[FloatArray, FloatArray]:
    """Errors (N, 6) and covariances (N, 6, 6) of the clean ones."""
    clean = [(t.error, t.covariance) for t in trials if t.kind == CLEAN and t.error is not None]
    errors = np.array([error for error, _ in clean]).reshape(-1, 6)
    return errors, np.array([covariance for _, covariance in clean]).reshape(-1, 6, 6)
