"""Findings from single images: unreadable, repeated, blurred, too dark or too bright."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from implicit_loc_trainer.check.findings import Finding, Grade, names_of
from implicit_loc_trainer.check.images import repeated
from implicit_loc_trainer.check.recording import Recording

FloatArray = NDArray[np.float64]

# Sharpness relative to what is usual around a frame, and in the whole recording.
_BLURRED_LOCALLY, _BLURRED = 0.4, 0.3
_WINDOW = 31

# Shares of an image that is as good as black or white.
_MOST_OF_IT = 0.6
_MANY = 0.1


@dataclass(frozen=True)
class Blur:
    """Sharpness over the recording.

    Attributes:
        frames: that were looked at, increasing.
        sharpness: of each, relative to the median of the recording.
        blurred: frames that are clearly less sharp than the others.
    """

    frames: list[int]
    sharpness: FloatArray
    blurred: list[int]


def blur_of(recording: Recording) -> Blur:
    """Compares the sharpness of every image with those around it and with all."""
    frames = sorted(recording.facts)
    values = np.array([recording.facts[frame].sharpness for frame in frames])
    if not frames:
        return Blur([], values, [])
    relative = values / max(float(np.median(values)), 1e-9)
    around = median_filter(relative, size=min(_WINDOW, len(values)), mode='nearest')
    blurred = (relative < _BLURRED) | ((relative < _BLURRED_LOCALLY * around) & (relative < 0.5))
    return Blur(frames, relative, [frames[rank] for rank in np.flatnonzero(blurred)])


def findings(recording: Recording, blur: Blur) -> list[Finding]:
    """All findings about single images."""
    found = [
        _unreadable(recording),
        _repeated(recording),
        _blurred(recording, blur),
        _exposure(recording),
    ]
    return [finding for finding in found if finding is not None]


def _unreadable(recording: Recording) -> Finding | None:
    if not recording.errors:
        return None
    names = recording.names(sorted(recording.errors))
    first = next(iter(recording.errors.values()))
    looked = len(recording.errors) + len(recording.facts)
    return Finding(
        'unreadable-images',
        Grade.ERROR,
        f'{len(names)} of {looked} images cannot be read: {names_of(names)}. The first error: '
        f'{first}',
        'repair these files or take their frames out of the recording',
        {'frames': names},
    )


def _repeated(recording: Recording) -> Finding | None:
    same = repeated((frame, recording.facts[frame]) for frame in sorted(recording.facts))
    same = [frame for frame in same if recording.split[frame] == recording.split[frame - 1]]
    if not recording.facts:
        return None
    if not same:
        return Finding('duplicates', Grade.OK, 'no image repeats its predecessor')
    names = recording.names(same)
    return Finding(
        'duplicates',
        Grade.WARN,
        f'{len(names)} of {len(recording.facts)} images equal their predecessor pixel by pixel: '
        f'{names_of(names)}',
        'the camera or the recorder repeated them: leave them out, or do not count them',
        {'frames': names},
    )


def _blurred(recording: Recording, blur: Blur) -> Finding | None:
    if not blur.frames:
        return None
    if not blur.blurred:
        return Finding('blur', Grade.OK, 'no image is much less sharp than the others')
    names = recording.names(blur.blurred)
    return Finding(
        'blur',
        Grade.WARN,
        f'{len(names)} of {len(blur.frames)} images are blurred (sharpness below '
        f'{_BLURRED:g} of the median, or {_BLURRED_LOCALLY:g} of their neighbours): '
        f'{names_of(names)}',
        'move more slowly or shorten the exposure; a few blurred frames do no harm',
        {'frames': names},
    )


def _exposure(recording: Recording) -> Finding | None:
    facts = sorted(recording.facts.items())
    if not facts:
        return None
    dark = recording.names(frame for frame, fact in facts if fact.dark > _MOST_OF_IT)
    bright = recording.names(frame for frame, fact in facts if fact.bright > _MOST_OF_IT)
    if not dark and not bright:
        return Finding('exposure', Grade.OK, 'no image is mostly black or white')
    parts = [
        f'{len(names)} of {len(facts)} images are mostly {colour}: {names_of(names)}'
        for colour, names in (('black', dark), ('white', bright))
        if names
    ]
    many = len(dark) + len(bright) > _MANY * len(facts)
    return Finding(
        'exposure',
        Grade.ERROR if many else Grade.WARN,
        '; '.join(parts),
        'such frames teach nothing: correct the exposure or leave them out',
        {'black': dark, 'white': bright},
    )
