"""How far things are: the depth range to use, and whether units agree."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.check import epipolar
from implicit_loc_trainer.check.epipolar import Correspondences
from implicit_loc_trainer.check.matching import Match
from implicit_loc_trainer.check.recording import Recording

FloatArray = NDArray[np.float64]

# Radians between two rays: with less, a depth says nothing.
LEAST_PARALLAX = 0.03

# Nearer and farther things will be seen from other places.
_NEAR_MARGIN, _FAR_MARGIN = 0.6, 1.5

_DEPTH_FRAMES = 60
_LEAST_POINTS = 50


@dataclass(frozen=True)
class DepthFacts:
    """Depths of matched points, and of the depth images where there are some.

    Attributes:
        triangulated: (K,) along the optical axis, in the unit of the poses.
        measured_ratio: median of the depth images over triangulated depths; NaN where unknown.
        ratio_spread: half of the distance between the quartiles of that ratio.
        compared: points in that ratio.
        near: to use for the network, metres; NaN where nothing could be triangulated.
        far: likewise.
    """

    triangulated: FloatArray
    measured_ratio: float
    ratio_spread: float
    compared: int
    near: float
    far: float

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """First, 50th and 99th; NaN without points."""
        if not len(self.triangulated):
            return math.nan, math.nan, math.nan
        low, middle, high = np.percentile(self.triangulated, (1.0, 50.0, 99.0))
        return float(low), float(middle), float(high)


def depth_facts(
    recording: Recording,
    matches: list[Match],
    first_from_second: FloatArray,
    points: Correspondences,
) -> DepthFacts:
    """Triangulates the matches and compares them with depth images.

    Args:
        recording: gives the depth images.
        matches: P.
        first_from_second: (P, 4, 4), of labels that fit.
        points: of the matches.
    """
    first, second, parallax = epipolar.depths(first_from_second, points)
    told = (parallax > LEAST_PARALLAX) & (first > 0) & (second > 0)
    both = np.concatenate([first[told], second[told]])
    ratios = _ratios(recording, matches, first, told)
    enough = len(both) >= _LEAST_POINTS
    low, high = np.percentile(both, (1.0, 99.0)) if enough else (math.nan, math.nan)
    known = len(ratios) >= _LEAST_POINTS
    quartiles = np.percentile(ratios, (25.0, 75.0)) if known else (math.nan, math.nan)
    return DepthFacts(
        triangulated=both,
        measured_ratio=float(np.median(ratios)) if known else math.nan,
        ratio_spread=float(quartiles[1] - quartiles[0]) / 2.0,
        compared=len(ratios),
        near=_rounded(_NEAR_MARGIN * float(low)),
        far=_rounded(_FAR_MARGIN * float(high)),
    )


def _ratios(
    recording: Recording,
    matches: list[Match],
    triangulated: FloatArray,
    told: NDArray[np.bool_],
) -> FloatArray:
    """Depth images over triangulated depths, at the matched pixels of the first frames."""
    by_frame: dict[int, list[int]] = {}
    for row, match in enumerate(matches):
        if recording.samples[match.first].load_depth is not None and told[row].any():
            by_frame.setdefault(match.first, []).append(row)
    frames = sorted(by_frame)
    some = np.unique(np.linspace(0, len(frames) - 1, _DEPTH_FRAMES).astype(int)) if frames else []
    ratios = [np.empty(0)]
    for frame in (frames[rank] for rank in some):
        image = _depth_image(recording, frame)
        if image is None:
            continue
        camera = recording.samples[frame].camera
        scale = np.array([image.shape[1] / camera.width, image.shape[0] / camera.height])
        for row in by_frame[frame]:
            cells = (matches[row].first_pixels + 0.5) * scale
            columns = np.clip(cells[:, 0].astype(int), 0, image.shape[1] - 1)
            rows = np.clip(cells[:, 1].astype(int), 0, image.shape[0] - 1)
            measured = image[rows, columns].astype(np.float64)
            usable = told[row] & (measured > 0) & np.isfinite(measured)
            ratios.append(measured[usable] / triangulated[row][usable])
    return np.concatenate(ratios)


def _depth_image(recording: Recording, frame: int) -> NDArray[np.float32] | None:
    load = recording.samples[frame].load_depth
    try:
        return load() if load is not None else None
    except (ImplicitLocError, OSError) as error:
        recording.depth_errors[frame] = str(error)
        return None


def _rounded(value: float) -> float:
    """Two significant digits."""
    return float(f'{value:.2g}') if math.isfinite(value) else math.nan
