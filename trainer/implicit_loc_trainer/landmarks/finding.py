"""Landmarks of a recording: found once, and kept for all trainings."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.landmarks.features import (
    MOST_BYTES,
    Features,
    find_features,
    working_focal_length,
)
from implicit_loc_trainer.landmarks.pairs import overlapping_pairs
from implicit_loc_trainer.landmarks.tracks import follow_features
from implicit_loc_trainer.landmarks.triangulation import Observations, triangulate
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.threads import in_order
from implicit_loc_trainer.training.memory import readable_bytes

# Part of what kept landmarks are compared by: to be raised when they are found differently.
_FORMAT = 2

# Images by which a recording is told from another one with the same poses.
_LOOKED_AT = 5


def find_landmarks(
    samples: Sequence[Sample], typical_depth: float, folder: Path, console: Console
) -> Observations:
    """The landmarks of a recording: found, or those that were kept.

    Frames whose image cannot be read, or whose orientation is not known, get none.

    Args:
        samples: of the recording.
        typical_depth: of the scene, metres; only chooses the frames to match.
        folder: where they are kept.
        console: takes what is said.

    Raises:
        DataError: there are none: the images show nothing that can be followed, or the poses do
            not belong to them.
        OSError: the file cannot be written.
    """
    file = folder / f'landmarks-{_key(samples, typical_depth)}.npz'
    found = _kept(file)
    if found is None:
        found = _find(samples, typical_depth, console)
        if not len(found.frame):
            raise DataError(
                f'no landmarks were found in {len(samples)} frames: check the recording with '
                '"implicit-loc check". A training does without them where loss.landmarks, '
                'loss.landmark_depth and augmentation.move are 0'
            )
        _keep(file, found)
    per_frame = np.bincount(found.frame, minlength=len(samples))
    console.print(
        f'landmarks: {int(np.median(per_frame))} in a frame at the median, '
        f'{int((per_frame == 0).sum())} frames without any',
        highlight=False,
    )
    return found


def with_landmarks(samples: Sequence[Sample], found: Observations) -> list[Sample]:
    """The samples, each with the landmarks that it sees.

    Args:
        samples: of the recording.
        found: in it, in the order of the frames.
    """
    per_frame = np.bincount(found.frame, minlength=len(samples))
    points = np.split(found.world_points, np.cumsum(per_frame)[:-1])
    return [replace(sample, landmarks=own) for sample, own in zip(samples, points, strict=True)]


def _find(samples: Sequence[Sample], typical_depth: float, console: Console) -> Observations:
    oriented = [index for index, sample in enumerate(samples) if sample.has_orientation]
    if not oriented:
        return Observations(np.empty(0, dtype=np.intp), np.empty((0, 3)))
    poses = np.array([samples[index].world_from_camera for index in oriented]).reshape(-1, 4, 4)
    focal = np.array([working_focal_length(samples[index].camera) for index in oriented])
    needed = readable_bytes(MOST_BYTES * len(oriented))
    console.print(
        f'finding landmarks: the features of {len(oriented)} frames take up to {needed} of memory',
        highlight=False,
    )
    described = 'finding landmarks: features'
    looks = in_order(_features, [samples[index] for index in oriented])
    total = len(oriented)
    features = list(track(looks, described, total=total, console=console, transient=True))
    pairs = overlapping_pairs(poses, typical_depth)
    described = 'finding landmarks: matches'
    tracks = follow_features(
        features, poses, focal, track(pairs, described, console=console, transient=True)
    )
    seen = triangulate(tracks, poses, focal)
    order = np.argsort(seen.frame, kind='stable')
    frame = np.asarray(oriented, dtype=np.intp)[seen.frame[order]]
    return Observations(frame, seen.world_points[order])


def _features(sample: Sample) -> Features:
    try:
        return find_features(sample)
    except DataError:
        # The frame cache names it, and decides whether too many are bad.
        return Features.none()


def _key(samples: Sequence[Sample], typical_depth: float) -> str:
    """Differs wherever the landmarks do, but for images between those that are looked at."""
    digest = hashlib.sha256(f'{_FORMAT} {typical_depth}'.encode())
    for sample in samples:
        is_masked = sample.load_mask is not None
        about = (sample.name, sample.camera, sample.has_orientation, is_masked)
        digest.update(repr(about).encode())
        digest.update(sample.world_from_camera.tobytes())
    for sample in samples[:: max(1, len(samples) // _LOOKED_AT)]:
        try:
            digest.update(sample.load_image().tobytes())
            if sample.load_mask is not None:
                digest.update(sample.load_mask().tobytes())
        except DataError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()[:16]


def _keep(file: Path, found: Observations) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary, temporary.open('wb') as output:
        np.savez(output, frame=found.frame, points=found.world_points)


def _kept(file: Path) -> Observations | None:
    """The landmarks of a file; None where they are not there or damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            frame: NDArray[np.intp] = stored['frame']
            return Observations(frame, stored['points'])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
