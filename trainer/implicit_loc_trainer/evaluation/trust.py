"""Whether covariances and confidences tell the truth about the errors of poses."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import chi2, rankdata

from implicit_loc_trainer.evaluation.metrics import CORRECT, json_figures

FloatArray = NDArray[np.float64]

# Share of the errors that the intervals of `coverage90_...` should contain.
INTERVAL = 0.9


def pose_errors(true: FloatArray, estimated: FloatArray) -> FloatArray:
    """Errors in the order and frame of PoseEstimate.covariance.

    The position's error is t - t*; the rotation's is the vector e with R = exp(e) R*.

    Args:
        true: world_from_camera, (..., 4, 4), metres.
        estimated: world_from_camera in the same world, (..., 4, 4), metres.

    Returns:
        (..., 6): x y z in metres, then rotation about the fixed axes X Y Z of the world, radians.
    """
    turned = estimated[..., :3, :3] @ np.swapaxes(true[..., :3, :3], -1, -2)
    vectors = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec()
    moved = estimated[..., :3, 3] - true[..., :3, 3]
    return np.concatenate([moved, vectors.reshape(moved.shape)], axis=-1)


def normalised_squares(errors: FloatArray, covariances: FloatArray) -> FloatArray:
    """Squared Mahalanobis lengths e^T C^-1 e: chi-square of k degrees of freedom where C is right.

    Args:
        errors: (N, k).
        covariances: (N, k, k); of those that are not positive definite the length is infinite.

    Returns:
        (N,); of k = 6 the NEES (normalised estimation error squared, Bar-Shalom et al. 2001).
    """
    lengths = np.full(len(errors), np.inf)
    with np.errstate(divide='ignore', invalid='ignore'):
        for index, (error, covariance) in enumerate(zip(errors, covariances, strict=True)):
            # Metres and radians differ by orders of magnitude: unit diagonals keep the digits.
            scale = np.sqrt(np.diagonal(covariance))
            try:
                whitener = np.linalg.cholesky(covariance / np.outer(scale, scale))
                lengths[index] = np.square(np.linalg.solve(whitener, error / scale)).sum()
            except np.linalg.LinAlgError:
                continue
    return np.where(np.isfinite(lengths), lengths, np.inf)


def coverage(errors: FloatArray, covariances: FloatArray, share: float = INTERVAL) -> float:
    """Share of the errors (N, k) within the ellipsoids that should contain `share` of them."""
    if not len(errors):
        return np.nan
    within = normalised_squares(errors, covariances) <= chi2.ppf(share, errors.shape[-1])
    return float(within.mean())


@dataclass(frozen=True)
class TrustSummary:
    """How far covariance and confidence can be trusted; NaN where no pose is accepted.

    Attributes:
        accepted: share of all frames whose confidence suffices.
        accepted_within_25cm_10deg: share of the accepted frames that are correct.
        nees_mean: of the accepted poses; 6 is ideal, more is overconfident.
        coverage90_translation: share of the accepted poses whose position lies within the 90 %
            ellipsoid of its covariance.
        coverage90_rotation: the same for the rotation.
    """

    accepted: float
    accepted_within_25cm_10deg: float
    nees_mean: float
    coverage90_translation: float
    coverage90_rotation: float

    def as_json(self) -> dict[str, float | None]:
        """The figures by name, with None for those that are infinite or NaN."""
        return json_figures(dataclasses.asdict(self))


def summarize_trust(
    errors: FloatArray,
    covariances: FloatArray,
    confidences: FloatArray,
    min_confidence: float,
    frames: int,
) -> TrustSummary:
    """Sums up the frames that have a pose.

    Args:
        errors: of `pose_errors`, (N, 6).
        covariances: (N, 6, 6).
        confidences: (N,).
        min_confidence: that of an accepted pose at least.
        frames: of which these are the ones with a pose, at least one.
    """
    accepted = np.asarray(confidences) >= min_confidence
    if not accepted.any():
        return TrustSummary(0.0, np.nan, np.nan, np.nan, np.nan)
    errors, covariances = errors[accepted], covariances[accepted]
    return TrustSummary(
        accepted=float(accepted.sum() / frames),
        accepted_within_25cm_10deg=float(is_correct(errors).mean()),
        nees_mean=float(normalised_squares(errors, covariances).mean()),
        coverage90_translation=coverage(errors[:, :3], covariances[:, :3, :3]),
        coverage90_rotation=coverage(errors[:, 3:], covariances[:, 3:, 3:]),
    )


def is_correct(errors: FloatArray) -> NDArray[np.bool_]:
    """Whether errors (N, 6) are within 25 cm and 10 deg, (N,)."""
    metres, degrees = (np.linalg.norm(errors[:, part], axis=1) for part in np.s_[:3, 3:])
    return np.asarray((metres <= CORRECT[0]) & (np.degrees(degrees) <= CORRECT[1]))


def auroc(known: Sequence[float] | FloatArray, foreign: Sequence[float] | FloatArray) -> float:
    """Area under the ROC curve: chance that a known frame has more confidence than a foreign one.

    Equal confidences count half (Mann and Whitney 1947).

    Args:
        known: confidences of frames of the place.
        foreign: confidences of other images.

    Returns:
        In [0, 1]; 0.5 where the confidence says nothing, NaN where one of the two is empty.
    """
    if not len(known) or not len(foreign):
        return np.nan
    ranks = rankdata(np.concatenate([known, foreign]))
    wins = ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2
    return float(wins / (len(known) * len(foreign)))


@dataclass(frozen=True)
class Reliability:
    """Confidences in bins against what they promise; bins without frames are left out.

    Attributes:
        confidence: mean of each bin, (K,).
        correct: share of its frames within 25 cm and 10 deg, (K,).
        frames: in it, (K,).
    """

    confidence: FloatArray
    correct: FloatArray
    frames: NDArray[np.intp]


def reliability(
    confidences: FloatArray, correct: NDArray[np.bool_], bins: int = 10
) -> Reliability:
    """Bins of equal width over [0, 1].

    Args:
        confidences: (N,).
        correct: (N,); false where a frame is lost.
        bins: how many.
    """
    index = np.clip((np.asarray(confidences) * bins).astype(int), 0, bins - 1)
    frames = np.bincount(index, minlength=bins)
    used = frames > 0
    means = [
        np.bincount(index, np.asarray(values, np.float64), bins)[used] / frames[used]
        for values in (confidences, correct)
    ]
    return Reliability(means[0], means[1], frames[used])
