"""Calibrates covariance and confidence of a map with frames that it never learned."""

from collections.abc import Callable, Sequence
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
from implicit_loc_trainer.calibration.measuring import CELLS, Trial, errors_and_covariances
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
    found = _fitted(trials, len(clean), lambda _: True)
    accepted = sum(_confidence(trial, found) >= _ACCEPTED for trial in clean)
    if accepted >= FEWEST_FRAMES:
        first = found
        found = _fitted(trials, len(clean), lambda trial: _confidence(trial, first) >= _ACCEPTED)
    return _outcome([trial for trial in trials if trial.kind != CELLS], clean, found)


def _fitted(
    trials: Sequence[Trial], frames: int, is_trusted: Callable[[Trial], bool]
) -> Calibration:
    usual = Calibration()
    on_landmarks = [t for t in trials if t.kind == CLEAN and t.on_landmarks and is_trusted(t)]
    # Where landmarks are missing, doubt is what the factors have to bring about.
    on_cells = [t for t in trials if t.kind == CELLS]
    translation, rotation = fit_factors(
        *errors_and_covariances(on_landmarks), usual.factors(on_landmarks=True)
    )
    cells_translation, cells_rotation = fit_factors(
        *errors_and_covariances(on_cells), usual.factors(on_landmarks=False)
    )
    found = replace(
        usual,
        translation_factor=translation,
        rotation_factor=rotation,
        cells_translation_factor=cells_translation,
        cells_rotation_factor=cells_rotation,
        frames=frames,
    )
    images = [trial for trial in trials if trial.kind != CELLS]
    seen = np.array([signals(_evidence(trial, found)) for trial in images])
    is_right = np.array([trial.is_right for trial in images])
    return replace(found, confidence=fit_confidence(seen, is_right, _weights(images)))


def _weights(trials: Sequence[Trial]) -> FloatArray:
    """Of mean 1, such that clean frames have their share."""
    is_clean = np.array([trial.kind == CLEAN for trial in trials])
    share = is_clean.mean()
    if share == 1:
        return np.ones(len(trials))
    return np.where(is_clean, _CLEAN_SHARE / share, (1 - _CLEAN_SHARE) / (1 - share))


def _evidence(trial: Trial, calibration: Calibration) -> Evidence:
    return replace(trial.evidence, **deviations(_covariance(trial, calibration)))


def _covariance(trial: Trial, calibration: Calibration) -> FloatArray:
    return calibrated(trial.covariance, calibration.factors(trial.on_landmarks))


def _confidence(trial: Trial, calibration: Calibration) -> float:
    return confidence(_evidence(trial, calibration), calibration.confidence)


def _outcome(trials: Sequence[Trial], clean: Sequence[Trial], found: Calibration) -> Outcome:
    errors, _ = errors_and_covariances(clean)
    covariances = np.stack([_covariance(trial, found) for trial in clean])
    own = np.array([_confidence(trial, found) for trial in clean])
    right = [_confidence(trial, found) for trial in trials if trial.is_right]
    wrong = [_confidence(trial, found) for trial in trials if not trial.is_right]
    return Outcome(
        calibration=found,
        trust=summarize_trust(errors, covariances, own, _ACCEPTED, len(clean)),
        auroc=auroc(right, wrong),
    )
