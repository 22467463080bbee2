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
        translation_factor: on the standard deviations of the position that the cells tell.
        rotation_factor: the same of the rotation.
        confidence: of a pose, from its evidence.
        frames: so many held-out frames were measured; 0 = not calibrated.
    """

    translation_factor: float = 5.0
    rotation_factor: float = 3.0
    confidence: ConfidenceModel = field(default_factory=ConfidenceModel)
    frames: int = 0


def parse_calibration(header: object) -> Calibration:
    """A calibration from a checkpoint's header.

    Raises:
        ValueError: an entry is missing, unknown, of a wrong type or out of range.
    """
    known = {item.name for item in fields(Calibration)}
    if not isinstance(header, Mapping) or header.keys() != known:
        raise ValueError(f'its calibration does not consist of {", ".join(sorted(known))}')
    return Calibration(
        number('translation_factor', header['translation_factor'], *_FACTORS),
        number('rotation_factor', header['rotation_factor'], *_FACTORS),
        parse_model(header['confidence']),
        int(number('frames', header['frames'], 0, _MOST_FRAMES)),
    )
