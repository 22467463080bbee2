"""Whether two runtimes predict the same, and whether device and host find the same pose."""

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.cells import cells_of_prediction
from implicit_loc.device_solving import Outcome
from implicit_loc.errors import AlignmentError
from implicit_loc.landmark_search import Landmarks, Sight
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes.base import Geometry, RuntimeUnavailableError
from implicit_loc.solvers import DEFAULT_SOLVER, solve

# Of the spread of each output: float32 in another order of operations, and half precision, which
# moves the weights of single cells by a tenth without moving the pose by a millimetre.
SINGLE_PRECISION = 1e-3
HALF_PRECISION = 0.2

# Of poses from one prediction, metres and entries of the rotation: sums in another order come to
# a hundred-thousandth of it, and to more only where a landmark is just found or just not.
SAME_POSE = 1e-3


def require_agreement(name: str, found: Geometry, expected: Geometry, tolerance: float) -> None:
    """Refuse a runtime that predicts something else than eager PyTorch.

    Args:
        name: of the runtime.
        found: its prediction.
        expected: that of eager PyTorch for the same image.
        tolerance: largest difference, as a share of the spread of the output.

    Raises:
        RuntimeUnavailableError: with the output that differs most.
    """
    differences = difference(found, expected)
    output = max(differences, key=lambda key: differences[key])
    # Written so that NaN is refused.
    if not differences[output] <= tolerance:
        raise RuntimeUnavailableError(
            f'{name} predicts other {output} than eager PyTorch: {differences[output]:.1e} of '
            f'their spread, at most {tolerance:.0e} is allowed'
        )


def difference(found: Geometry, expected: Geometry) -> dict[str, float]:
    """Largest difference of each output as a share of its spread; infinite where it lacks."""
    return {
        name: _difference(getattr(found, name), array)
        for name, array in vars(expected).items()
        if array is not None
    }


def _difference(found: NDArray[np.float32] | None, expected: NDArray[np.float32]) -> float:
    if found is None or found.shape != expected.shape or not np.isfinite(found).all():
        return np.inf
    # Per axis: far from the origin, the coordinates of a small room still differ little.
    axes = tuple(range(min(2, expected.ndim)))
    largest = float(np.abs(expected).max())
    spread = max(float(np.ptp(expected, axis=axes).max()), 1e-3 * largest, 1e-12)
    # What float32 itself cannot resolve is nobody's fault.
    unresolved = 4 * float(np.finfo(np.float32).eps) * largest
    return max(float(np.abs(found - expected).max()) - unresolved, 0.0) / spread


def require_same_pose(
    outcome: Outcome,
    geometry: Geometry,
    camera: Camera,
    stride: int,
    landmarks: Landmarks | None,
) -> None:
    """Refuse a device that solves a prediction otherwise than the host.

    Args:
        outcome: of the device.
        geometry: the prediction, with descriptors if the map has landmarks.
        camera: of the network's input.
        stride: pixels of it per cell.
        landmarks: of the map; None where it has none.

    Raises:
        RuntimeUnavailableError: with how far the poses are apart.
    """
    found = outcome.facts().world_from_camera
    sight = None
    if landmarks is not None and geometry.descriptors is not None:
        sight = Sight(landmarks, geometry.descriptors, camera)
    try:
        solution = solve(cells_of_prediction(geometry, camera, stride), DEFAULT_SOLVER, sight)
    except AlignmentError as error:
        raise RuntimeUnavailableError(f'it finds a pose where there is none ({error})') from error
    apart = np.abs(found - solution.world_from_camera[0].numpy()).max()
    if not apart <= SAME_POSE:
        raise RuntimeUnavailableError(
            f'its pose is {apart:.1e} (metres, and entries of the rotation) from that of the CPU, '
            f'at most {SAME_POSE:.0e} is allowed'
        )


def noise_image(camera: Camera) -> ByteImage:
    """Always the same noise."""
    shape = (camera.height, camera.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
