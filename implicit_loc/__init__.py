"""Visual localization: one camera image in, its pose in the map out."""

from typing import TYPE_CHECKING

from implicit_loc.camera import Camera
from implicit_loc.errors import (
    AlignmentError,
    CameraError,
    CheckpointError,
    ImageError,
    ImplicitLocError,
)

if TYPE_CHECKING:
    from implicit_loc.localizer import Localizer, PoseEstimate

__version__ = '0.1.0'

__all__ = [
    'AlignmentError',
    'Camera',
    'CameraError',
    'CheckpointError',
    'ImageError',
    'ImplicitLocError',
    'Localizer',
    'PoseEstimate',
]


def __getattr__(name: str) -> object:
    """PyTorch takes seconds to import: who needs no localizer should not wait for it."""
    if name not in ('Localizer', 'PoseEstimate'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from implicit_loc import localizer

    return getattr(localizer, name)
