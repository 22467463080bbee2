"""Calibrates covariance and confidence of a map with frames that it never learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc.calibration import Calibration
from implicit_loc.confidence import Evidence, confidence, signals
from implicit_loc.covariance import calibrated
from implicit_loc.errors import ImplicitLocError
from implicit_loc.uncertainty import deviations
from implicit_loc_trainer.calibration.degraded import CLEAN
from implicit_loc_trainer.calibration.fitting import fit_confidence, fit_factors
from implicit_loc_trainer.calibration.measuring import Trial, errors_and_covariances
from implicit_loc_trainer.calibration.splitting import FEWEST_FRAMES
from implicit_loc_trainer.evaluation.trust import TrustSummary, auroc, summarize_trust

FloatArray = NDArray[np.float64]

# Poses below it serve nobody: their errors do not shape the covariance.
_ACCEPTED = 0.5

# Of the images, by weight: a robot mostly sees its place as it is.
_CLEAN_SHARE = 0.5


class CalibrationError(ImplicitLocError):
    """A map cannot be calibrated."""


@dataclass(frozen=True)
class Outcome:
    """A calibration, and how well it describes the frames that it was fitted to.

    Attributes:
        calibration: for the checkpoint.
        trust: of the clean frames.
        auroc: how well the confidence tells right poses from wrong ones, over all images; NaN
            where there is only one sort.
    """

    calibration: Calibration
    trust: TrustSummary
    auroc: float

    def described(self) -> str:
        """The figures, in one line."""
        trust = self.trust
        return (
            f'calibrated on {self.calibration.frames} held-out frames: '
            f'{100 * trust.accepted:.0f} % accepted, of these '
            f'{100 * trust.accepted_within_25cm_10deg:.0f} % within 25 cm and 10 deg, '
            f'mean NEES {trust.nees_mean:.1f} (6 is ideal), 90 % intervals hold '
            f'{100 * trust.coverage90_translation:.0f} % of the positions and '
            f'{100 * trust.coverage90_rotation:.0f} % of the rotations; '
            f'AUROC of right and wrong poses {self.auroc:.3f}'
        )


def calibrate(trials: Sequence[Trial]) -> Outcome:
    """Fits a calibration to localized images.

    Covariance and confidence need each other: the covariance is to be true of accepted poses, and
    the confidence depends on it. So both are fitted twice.

    Raises:
        CalibrationError: too few held-out frames have a pose.
    """
    clean = [trial for trial in trials if trial.kind == CLEAN]
    if len(clean) < FEWEST_FRAMES:
        raise CalibrationError(
            f'{len(clean)} held-out frames have a pose, a calibration needs {FEWEST_FRAMES}'
        )
    found = _fitted(trials, clean, len(clean))
    accepted = [trial for trial in clean if _confidence(trial, found) >= _ACCEPTED]
    if len(accepted) >= FEWEST_FRAMES:
        found = _fitted(trials, accepted, len(clean))
    return _outcome(trials, clean, found)


def _fitted(trials: Sequence[Trial], trusted: Sequence[Trial], frames: int) -> Calibration:
    translation, rotation = fit_factors(*errors_and_covariances(trusted))
    found = Calibration(translation, rotation, frames=frames)
    seen = np.array([signals(_evidence(trial, found)) for trial in trials])
    is_right = np.array([trial.is_right for trial in trials])
    return replace(found, confidence=fit_confidence(seen, is_right, _weights(trials)))


def _weights(trials: Sequence[Trial]) -> FloatArray:
    """Of mean 1, such that clean frames have their share."""
    is_clean = np.array([trial.kind == CLEAN for trial in trials])
    share = is_clean.mean()
    if share == 1:
        return np.ones(len(trials))
    return np.where(is_clean, _CLEAN_SHARE / share, (1 - _CLEAN_SHARE) / (1 - share))


def _evidence(trial: Trial, calibration: Calibration) -> Evidence:
    return replace(trial.evidence, **deviations(calibrated(trial.covariance, calibration)))


def _confidence(trial: Trial, calibration: Calibration) -> float:
    return confidence(_evidence(trial, calibration), calibration.confidence)


def _outcome(trials: Sequence[Trial], clean: Sequence[Trial], found: Calibration) -> Outcome:
    errors, raw = errors_and_covariances(clean)
    covariances = np.stack([calibrated(covariance, found) for covariance in raw])
    own = np.array([_confidence(trial, found) for trial in clean])
    right = [_confidence(trial, found) for trial in trials if trial.is_right]
    wrong = [_confidence(trial, found) for trial in trials if not trial.is_right]
    return Outcome(
        calibration=found,
        trust=summarize_trust(errors, covariances, own, _ACCEPTED, len(clean)),
        auroc=auroc(right, wrong),
    )
