"""What frames that were held out from the training taught about a map's errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from implicit_loc.confidence import ConfidenceModel, number, parse_model

# Factors beyond these come from a fault, not from a map.
_FACTORS = (1e-3, 1e3)

_MOST_FRAMES = 10**9


@dataclass(frozen=True)
class Calibration:
    """How covariance and confidence follow from what the cells tell.

    The defaults are those of a map that was not calibrated: about what maps of different rooms
    had in common.

    Attributes:
        translation_factor: on the standard deviations of the position that landmarks tell.
        rotation_factor: the same of the rotation.
        confidence: of a pose, from its evidence.
        frames: so many held-out frames were measured; 0 = not calibrated.
        cells_translation_factor: as translation_factor, of poses that the network's cells alone
            gave: on new views these are wrong in whole regions, which landmarks are not.
        cells_rotation_factor: the same of the rotation.
    """

    translation_factor: float = 5.0
    rotation_factor: float = 3.0
    confidence: ConfidenceModel = field(default_factory=ConfidenceModel)
    frames: int = 0
    cells_translation_factor: float = 5.0
    cells_rotation_factor: float = 3.0

    def factors(self, on_landmarks: bool) -> tuple[float, float]:
        """Of position and rotation, for poses on landmarks or on cells."""
        if on_landmarks:
            return self.translation_factor, self.rotation_factor
        return self.cells_translation_factor, self.cells_rotation_factor


# What checkpoints from before these existed do not have.
_ADDED = {'cells_translation_factor', 'cells_rotation_factor'}


def parse_calibration(header: object) -> Calibration:
    """A calibration from a checkpoint's header.

    Raises:
        ValueError: an entry is missing, unknown, of a wrong type or out of range.
    """
    known = {item.name for item in fields(Calibration)}
    if not isinstance(header, Mapping) or header.keys() | _ADDED != known:
        raise ValueError(f'its calibration does not consist of {", ".join(sorted(known))}')
    factors = {
        name: number(name, value, *_FACTORS)
        for name, value in header.items()
        if name.endswith('_factor')
    }
    return Calibration(
        confidence=parse_model(header['confidence']),
        frames=int(number('frames', header['frames'], 0, _MOST_FRAMES)),
        **factors,
    )
