"""Errors that a user can act on; everything else is a defect and keeps its traceback."""


class ImplicitLocError(Exception):
    """Base of all known errors: the message says what was found and what helps."""


class CheckpointError(ImplicitLocError):
    """A checkpoint file is missing, foreign, damaged or of another version."""


class CameraError(ImplicitLocError):
    """A camera is uncalibrated, malformed or unlike the one that the network was trained for."""


class ImageError(ImplicitLocError):
    """An image has a wrong type, shape or size."""


class AlignmentError(ImplicitLocError):
    """The predicted geometry does not determine a pose."""
