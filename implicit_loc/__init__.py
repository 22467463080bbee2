"""Visual localization: one camera image in, its pose in the map out."""

from implicit_loc.camera import Camera
from implicit_loc.errors import (
    AlignmentError,
    CameraError,
    CheckpointError,
    ImageError,
    ImplicitLocError,
)
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
