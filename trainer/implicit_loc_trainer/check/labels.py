"""Which reading of the labels the images speak for: convention, then camera and clock."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.check import calibration as cameras
from implicit_loc_trainer.check import conventions, epipolar
from implicit_loc_trainer.check.calibration import CalibrationFit
from implicit_loc_trainer.check.consistency import judge
from implicit_loc_trainer.check.conventions import Hypothesis, score_of
from implicit_loc_trainer.check.epipolar import AS_GIVEN, Calibration, Correspondences
from implicit_loc_trainer.check.mounting import MountFit, fit_mount
from implicit_loc_trainer.check.pairs import LEAST_DISPLACEMENT, Pairs
from implicit_loc_trainer.check.recording import Recording
from implicit_loc_trainer.check.time_offset import TimeOffset, find_time_offset, moved_poses

FloatArray = NDArray[np.float64]

# Enough to tell conventions, and offsets in time, apart.
_CONVENTION_PAIRS = 150
_OFFSET_PAIRS = 250

# When one explanation counts as clearly better: scores, and the share of pairs that improve.
_CONVENTION_RATIO, _CORRECTION_RATIO = 0.5, 0.72
_LEAST_GAIN = 0.012
_MOST_PAIRS = 0.65

# Explanations by the camera are simpler than those by another frame.
_SIMPLER = 1.15

# Of medians: a convention that is right shows through whatever else is wrong.
_SHOWS_THROUGH = 0.35

# An offset below this share of the interval between frames is left to the exposure time.
_LEAST_INTERVALS = 0.4


@dataclass
class LabelDiagnosis:
    """What explains the matches best.

    Attributes:
        unit_px: pixels at full size that one pixel at a width of 640 is.
        floor_px: median error when nothing is asked of poses and camera, pixels at full size.
        given_px: the error of the labels as given.
        given_errors: of the pairs under the labels as given, (P,) pixels.
        given: the poses as given.
        hypotheses: all readings of the poses, the best one first.
        convention: the reading that is clearly better than the given one, if there is one.
        fits: the cameras that were tried.
        camera: the camera that is clearly better, if there is one.
        error_before_camera: median error before camera or mount are repaired, pixels.
        given_front: points in front of both cameras with the poses as given, share.
        mount: the transform to the camera that is clearly better than none, if there is one.
        rectified: whether the images fit without the distortion that the camera states.
        offset: the search over time offsets; None where the frames are no sequence.
        is_late: whether an offset is clearly better than none.
        poses: world_from_camera with everything repaired, (N, 4, 4).
        known: (N,) whether it could be repaired: with another clock, the poses of the first or
            the last images are not known.
        points: correspondences with everything repaired.
        errors: of the pairs then, (P,) pixels.
    """

    unit_px: float
    floor_px: float
    given_px: float
    given_errors: FloatArray
    given: Hypothesis
    hypotheses: list[Hypothesis]
    poses: FloatArray
    known: NDArray[np.bool_]
    points: Correspondences
    errors: FloatArray
    convention: Hypothesis | None = None
    fits: list[CalibrationFit] = field(default_factory=list)
    camera: CalibrationFit | None = None
    mount: MountFit | None = None
    error_before_camera: float = 0.0
    given_front: float = 1.0
    rectified: bool = False
    offset: TimeOffset | None = None
    is_late: bool = False

    @property
    def best_px(self) -> float:
        """Median error with everything repaired, pixels at full size."""
        return float(np.median(self.errors))

    @property
    def calibration(self) -> Calibration:
        """The camera relative to the given one."""
        return self.camera.calibration if self.camera else AS_GIVEN


def diagnose(recording: Recording, pairs: Pairs) -> LabelDiagnosis:
    """Tries all explanations, the coarsest ones first.

    Args:
        recording: the frames.
        pairs: at least one confirmed pair.
    """
    width = np.median([sample.camera.width for sample in recording.samples])
    unit_px = float(width) / 640.0
    points = recording.correspondences(pairs.matches)
    poses = recording.world_from_camera
    few, _ = points.chosen(_telling(pairs)).spread(_CONVENTION_PAIRS, every=2)
    given, ranked = conventions.rate_conventions(poses, few, unit_px)
    errors = epipolar.pair_errors(epipolar.relative_poses(poses, points), points)
    found = LabelDiagnosis(
        unit_px=unit_px,
        floor_px=float(np.median([match.floor_px for match in pairs.matches])),
        given_px=float(np.median(errors)),
        given_errors=errors,
        given=given,
        hypotheses=ranked,
        poses=poses,
        known=np.ones(len(poses), dtype=bool),
        points=points,
        errors=errors,
    )
    found.given_front, _ = conventions.front_share(epipolar.relative_poses(poses, points), points)
    _settle_convention(found)
    # Camera and clock may hide each other: what brings more is settled first.
    for _ in range(2):
        if not _settle_correction(recording, found):
            break
    return found


def corrected(labels: LabelDiagnosis, points: Correspondences, camera: Camera) -> Correspondences:
    """Other correspondences, seen through the camera that fits best."""
    if labels.rectified:
        return cameras.without_distortion(points, camera) or points
    return epipolar.recalibrated(points, labels.calibration)


def _telling(pairs: Pairs) -> NDArray[np.intp]:
    """Pairs with enough motion, spread over the recording."""
    motion = np.array([match.displacement for match in pairs.matches])
    enough = np.flatnonzero(motion >= LEAST_DISPLACEMENT)
    if len(enough) < 10:
        enough = np.argsort(-motion, kind='stable')[:10]
    return np.sort(enough)


def _settle_convention(found: LabelDiagnosis) -> None:
    best, given = found.hypotheses[0], found.given
    if not best.steps:
        return
    behind_now = best.error_px == given.error_px  # Only the side of the cameras differs.
    clearly = (
        (
            best.score <= _CONVENTION_RATIO * given.score
            or best.error_px <= _SHOWS_THROUGH * given.error_px
        )
        and best.error_px <= given.error_px - found.unit_px
        and best.better_share >= _MOST_PAIRS
    )
    if clearly or behind_now:
        found.convention = best
        found.poses = best.poses
        found.errors = _errors(found, found.points)


def _errors(found: LabelDiagnosis, points: Correspondences) -> FloatArray:
    return epipolar.pair_errors(epipolar.relative_poses(found.poses, points), points)


def _settle_correction(recording: Recording, found: LabelDiagnosis) -> bool:
    """Applies the camera, the clock or neither; returns whether anything was clearly better."""
    # Between two worlds a strange camera, or an offset by half a frame, would seem to help.
    if _worlds(found):
        return False
    now = score_of(found.errors, found.unit_px)
    offers: list[tuple[float, str]] = []
    relative = epipolar.relative_poses(found.poses, found.points)
    camera = recording.samples[0].camera
    straight: Correspondences | None = None
    if found.camera is None and not found.rectified and found.mount is None:
        best, fits = cameras.fit_calibration(relative, found.points, camera, found.unit_px)
        found.fits = found.fits or fits
        if _is_better(now, best.score, float((best.errors < found.errors).mean())):
            offers.append((best.score / _SIMPLER, 'camera'))
        straight = cameras.without_distortion(found.points, camera)
        if straight is not None:
            errors = _errors(found, straight)
            score = score_of(errors, found.unit_px)
            if _is_better(now, score, float((errors < found.errors).mean())):
                offers.append((score / _SIMPLER**2, 'rectified'))
        mount = fit_mount(relative, found.points, found.unit_px)
        if _is_better(now, mount.score, float((mount.errors < found.errors).mean())):
            offers.append((mount.score, 'mount'))
    if not found.is_late:
        few, _ = found.points.spread(_OFFSET_PAIRS, every=2)
        offset = find_time_offset(
            found.poses, recording.timestamps, recording.split, few, found.unit_px
        )
        found.offset = found.offset or offset
        if offset is not None and _is_late(offset):
            found.offset = offset
            offers.append((offset.best_score, 'clock'))
    if not offers:
        return False
    kind = min(offers)[1]
    if kind != 'clock':
        found.error_before_camera = found.best_px
    if kind == 'mount':
        found.mount = mount
        found.poses = found.poses @ mount.tracked_from_camera
    elif kind == 'camera':
        found.camera = best
        found.points = epipolar.recalibrated(found.points, best.calibration)
    elif kind == 'rectified' and straight is not None:
        found.rectified, found.points = True, straight
    elif found.offset is not None:
        found.is_late = True
        found.poses, found.known = moved_poses(
            found.poses, recording.timestamps, recording.split, found.offset
        )
    found.errors = _errors(found, found.points)
    return True


def _worlds(found: LabelDiagnosis) -> tuple[list[int], ...]:
    points = found.points
    return judge(points.first, points.second, found.errors, found.unit_px).worlds


def _is_better(now: float, then: float, share: float) -> bool:
    return then <= _CORRECTION_RATIO * now and now - then >= _LEAST_GAIN and share >= _MOST_PAIRS


def _is_late(offset: TimeOffset) -> bool:
    far = abs(offset.best_s) >= _LEAST_INTERVALS * offset.interval_s
    before = min(offset.given_score, offset.opposite_score)
    return far and _is_better(before, offset.best_score, offset.better_share)
