"""A fitted calibration makes what was announced true."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from implicit_loc.calibration import Calibration
from implicit_loc.confidence import SIGNALS, ConfidenceModel, Evidence, confidence
from implicit_loc.covariance import calibrated
from implicit_loc_trainer.calibration.calibrating import CalibrationError, calibrate
from implicit_loc_trainer.calibration.degraded import CLEAN
from implicit_loc_trainer.calibration.fitting import fit_confidence, fit_factors
from implicit_loc_trainer.calibration.measuring import CELLS, Trial
from implicit_loc_trainer.evaluation.trust import coverage, is_correct, normalised_squares

USUAL = Calibration().factors(on_landmarks=True)


def _covariances(count: int, rng: np.random.Generator) -> np.ndarray:
    """Of 2 to 10 cm and as many hundredths of a radian, correlated."""
    roots = rng.normal(size=(count, 6, 6)) * rng.uniform(0.01, 0.04, (count, 1, 1))
    return roots @ roots.transpose(0, 2, 1)


def _errors(
    covariances: np.ndarray, factors: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    scale = np.repeat(factors, 3)
    drawn = [rng.multivariate_normal(np.zeros(6), covariance) for covariance in covariances]
    return np.array(drawn) * scale


@pytest.mark.parametrize('factors', [(0.8, 3.0), (5.0, 1.0), (12.0, 7.0)])
def test_the_factors_of_known_errors_are_found(factors: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    covariances = _covariances(400, rng)
    found = fit_factors(_errors(covariances, factors, rng), covariances, USUAL)
    np.testing.assert_allclose(found, factors, rtol=0.15)


def test_heavy_tails_get_an_honest_interval_and_a_bounded_mean() -> None:
    """As networks' errors have them; on other errors than those that were fitted to."""
    rng = np.random.default_rng(1)
    covariances = _covariances(800, rng)
    tails = np.sqrt(4.0 / rng.chisquare(4, (800, 1)))
    errors = _errors(covariances, (2.0, 2.0), rng) * tails
    found = fit_factors(errors[:400], covariances[:400], USUAL)
    scaled = np.stack([calibrated(covariance, found) for covariance in covariances[400:]])
    for part in (slice(0, 3), slice(3, 6)):
        assert 0.85 < coverage(errors[400:, part], scaled[:, part, part]) < 0.95
    assert 4 < normalised_squares(errors[400:], scaled).mean() < 9


def test_a_few_plainly_wrong_poses_move_the_factors_little() -> None:
    rng = np.random.default_rng(2)
    covariances = _covariances(200, rng)
    errors = _errors(covariances, (2.0, 2.0), rng)
    spoilt = errors.copy()
    spoilt[::25] *= 1000
    np.testing.assert_allclose(
        fit_factors(spoilt, covariances, USUAL),
        fit_factors(errors, covariances, USUAL),
        rtol=0.3,
    )


def test_few_stretches_leave_room_for_a_worse_one() -> None:
    """The same frames, once as they are and once as part of a long recording like them."""
    rng = np.random.default_rng(6)
    covariances = _covariances(33, rng)
    errors = _errors(covariances, USUAL, rng)
    few = fit_factors(errors, covariances, USUAL)
    many = fit_factors(np.tile(errors, (20, 1)), np.tile(covariances, (20, 1, 1)), USUAL)
    # sqrt(1 + 1/3), to the power that 33 frames have beside the 15 of unknown maps.
    np.testing.assert_allclose(np.divide(few, many), 1.155 ** (33 / 48), rtol=0.06)


def test_few_frames_say_less_than_many() -> None:
    rng = np.random.default_rng(3)
    covariances = _covariances(12, rng)
    for factor, usual in zip(
        fit_factors(1e-6 * np.ones((12, 6)), covariances, USUAL), USUAL, strict=True
    ):
        assert 0.2 < factor < usual


def test_no_frames_say_nothing() -> None:
    assert fit_factors(np.zeros((0, 6)), np.zeros((0, 6, 6)), USUAL) == USUAL


def _model_of(signals: np.ndarray, is_right: np.ndarray) -> ConfidenceModel:
    return fit_confidence(signals, is_right, np.ones(len(signals)))


def test_the_fitted_confidence_is_a_probability() -> None:
    rng = np.random.default_rng(4)
    signals = rng.normal(size=(20_000, len(SIGNALS)))
    slopes = rng.uniform(0, 1, len(SIGNALS))
    is_right = rng.uniform(size=len(signals)) < expit(0.7 - signals @ slopes)
    model = _model_of(signals[:10_000], is_right[:10_000])
    np.testing.assert_allclose(list(model.slopes.values()), slopes, atol=0.15)
    assert model.bias == pytest.approx(0.7, abs=0.1)


def test_doubt_never_raises_the_confidence() -> None:
    """Whatever a few images happen to say."""
    rng = np.random.default_rng(5)
    signals = rng.normal(size=(300, len(SIGNALS)))
    model = _model_of(signals, signals.sum(axis=1) > 0)
    assert min(model.slopes.values()) >= 0


def test_images_that_are_all_right_do_not_make_a_model_of_certainty() -> None:
    rng = np.random.default_rng(6)
    signals = rng.normal(-1, 0.3, size=(60, len(SIGNALS)))
    model = _model_of(signals, np.ones(60, dtype=bool))
    assert np.isfinite([model.bias, *model.slopes.values()]).all()
    lost = Evidence(0.01, 0.4, 0.02, 0.9, 0.05, 1.0, 0.4, 1.5, 0.8, 2.0, 1.5, 0.8, 0.05)
    assert confidence(lost, model) < 0.5


def _trials(count: int, seed: int = 7) -> list[Trial]:
    """Clean frames that are right, and foreign images whose evidence is poor."""
    rng = np.random.default_rng(seed)
    covariances = _covariances(count, rng) / 4
    errors = _errors(covariances, (1.5, 1.0), rng)
    good = Evidence(0.8, 0.006, 0.9, 0.04, 0.5, 0.05, 0.03, 0.05, 0.03, 0.2, 0.2, 0.0, 0.7)
    bad = Evidence(0.05, 0.2, 0.1, 0.5, 0.05, 0.3, 0.2, 0.5, 0.4, 0.9, 0.8, 0.3, 0.05)
    clean = [
        Trial(CLEAN, False, good, covariance, error, bool(is_correct(error[None])[0]), True)
        for covariance, error in zip(covariances, errors, strict=True)
    ]
    foreign = [
        dataclasses.replace(
            trial,
            kind='noise',
            is_foreign=True,
            evidence=bad,
            error=None,
            is_right=False,
            on_landmarks=False,
        )
        for trial in clean
    ]
    return [trial for pair in zip(clean, foreign, strict=True) for trial in pair]


def test_a_calibration_accepts_what_is_right_and_refuses_what_is_foreign() -> None:
    outcome = calibrate(_trials(150))
    assert outcome.calibration.frames == 150
    assert outcome.auroc > 0.95
    assert outcome.trust.accepted > 0.9
    assert 4 < outcome.trust.nees_mean < 9
    assert 'calibrated on 150 held-out frames' in outcome.described()


def test_poses_on_cells_have_factors_of_their_own() -> None:
    """As good as a map's landmarks are, it may be poor without them."""
    trials = _trials(150)
    alone = [
        dataclasses.replace(
            trial,
            kind=CELLS,
            error=20 * trial.error,
            is_right=False,
            on_landmarks=False,
        )
        for trial in trials
        if trial.error is not None
    ]
    before, after = calibrate(trials), calibrate([*trials, *alone])
    on_landmarks = after.calibration.factors(on_landmarks=True)
    on_cells = after.calibration.factors(on_landmarks=False)
    np.testing.assert_allclose(on_landmarks, before.calibration.factors(on_landmarks=True))
    assert min(np.divide(on_cells, on_landmarks)) > 8
    assert after.trust == before.trust


def test_the_same_images_give_the_same_calibration() -> None:
    assert calibrate(_trials(30)) == calibrate(_trials(30))


def test_too_few_poses_are_refused() -> None:
    with pytest.raises(CalibrationError, match='5 held-out frames have a pose'):
        calibrate(_trials(5))
