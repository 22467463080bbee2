"""Whether two runtimes predict the same."""

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes.base import Geometry, RuntimeUnavailableError

# Of the spread of each output: float32 in another order of operations, and half precision, which
# moves the weights of single cells by a tenth without moving the pose by a millimetre.
SINGLE_PRECISION = 1e-3
HALF_PRECISION = 0.2


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


def noise_image(camera: Camera) -> ByteImage:
    """Always the same noise."""
    shape = (camera.height, camera.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
