"""Are the poses those of something else than the camera, rigidly joined to it?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.conventions import score_of
from implicit_loc_trainer.check.epipolar import Correspondences
from implicit_loc_trainer.datasets.parsing import inverse

FloatArray = NDArray[np.float64]

_FITTED_PAIRS = 80


@dataclass(frozen=True)
class MountFit:
    """A rigid transform between what the poses describe and the camera.

    Attributes:
        tracked_from_camera: (4, 4); world_from_camera is the given pose times this.
        errors: of the pairs with it, (P,) pixels.
        score: of these errors.
    """

    tracked_from_camera: FloatArray
    errors: FloatArray
    score: float

    @property
    def error_px(self) -> float:
        """Median over the pairs, pixels at full size."""
        return float(np.median(self.errors))

    @property
    def angle_rad(self) -> float:
        """How far the camera is turned."""
        return float(Rotation.from_matrix(self.tracked_from_camera[:3, :3]).magnitude())

    @property
    def distance(self) -> float:
        """How far away the camera is, in the unit of the poses."""
        return float(np.linalg.norm(self.tracked_from_camera[:3, 3]))


def fit_mount(first_from_second: FloatArray, points: Correspondences, unit_px: float) -> MountFit:
    """Fits rotation and lever arm by robust least squares (hand-eye calibration).

    Args:
        first_from_second: of the tracked frame, (P, 4, 4).
        points: of P pairs.
        unit_px: as of score_of.
    """
    few, chosen = points.spread(_FITTED_PAIRS, every=2)
    few_relative = first_from_second[chosen]
    length = float(np.median(np.linalg.norm(few_relative[:, :3, 3], axis=1))) or 1.0

    def mount(values: FloatArray) -> FloatArray:
        transform = np.eye(4)
        transform[:3, :3] = Rotation.from_rotvec(values[:3]).as_matrix()
        transform[:3, 3] = np.clip(values[3:], -50.0, 50.0) * length
        return transform

    def moved(relative: FloatArray, transform: FloatArray) -> FloatArray:
        return inverse(transform) @ relative @ transform

    def residuals(values: FloatArray) -> FloatArray:
        relative = moved(few_relative, mount(values))
        return epipolar.signed_errors(relative, few).ravel()

    # The rotation matters most; the lever arm is found from there.
    solution = least_squares(
        residuals, np.zeros(6), loss='soft_l1', f_scale=2.0 * unit_px, max_nfev=25
    )
    best = mount(solution.x)
    errors = epipolar.pair_errors(moved(first_from_second, best), points)
    return MountFit(best, errors, score_of(errors, unit_px))
