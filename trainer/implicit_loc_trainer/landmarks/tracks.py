"""Features followed from frame to frame, as far as the known poses allow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from implicit_loc_trainer.landmarks.features import Features

FloatArray = NDArray[np.float64]
Indices = NDArray[np.intp]

# Wider than Lowe's 0.8: what is wrong rarely lies on the epipolar line as well.
_RATIO = 0.85
_EPIPOLAR_PX = 1.0


@dataclass(frozen=True)
class Tracks:
    """Observations in the order of their tracks.

    Attributes:
        track: number of the track of each observation, increasing from 0, (M,).
        frame: in which it was seen, (M,); no frame twice in a track.
        rays: unit-depth ray, (M, 3).
    """

    track: Indices
    frame: Indices
    rays: FloatArray


def follow_features(
    features: Sequence[Features],
    world_from_camera: FloatArray,
    focal_length_px: FloatArray,
    pairs: Iterable[tuple[int, int]],
) -> Tracks:
    """Connects the matches of all pairs.

    Args:
        features: of every frame.
        world_from_camera: of every frame, (N, 4, 4).
        focal_length_px: of every frame where its features were found, (N,): it turns angles
            into the pixels in which tolerances are given.
        pairs: indices of frames.
    """
    offsets = np.cumsum([0] + [len(found.rays) for found in features])
    camera_from_world = np.linalg.inv(world_from_camera)
    ends: list[Indices] = [np.empty((0, 2), dtype=np.intp)]
    for first, second in pairs:
        second_from_first = camera_from_world[second] @ world_from_camera[first]
        tolerance = _EPIPOLAR_PX / float(focal_length_px[first])
        found = _match(features[first], features[second], second_from_first, tolerance)
        ends.append(found + offsets[[first, second]])
    edges = np.concatenate(ends)
    nodes = int(offsets[-1])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    frame = np.repeat(np.arange(len(features)), np.diff(offsets))
    rays = np.concatenate([found.rays for found in features])
    return _unambiguous(component, frame, rays)


def _match(
    first: Features, second: Features, second_from_first: FloatArray, tolerance: float
) -> Indices:
    """Indices (K, 2) of features that look alike and lie on each other's epipolar lines."""
    if len(first.rays) < 2 or len(second.rays) < 2:
        return np.empty((0, 2), dtype=np.intp)
    query, train = (seen.descriptors.astype(np.float32) for seen in (first, second))
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(query, train, k=2)
    matches = [
        (best.queryIdx, best.trainIdx)
        for best, other in nearest
        if best.distance < _RATIO * other.distance
    ]
    found = np.array(matches, dtype=np.intp).reshape(-1, 2)
    errors = _epipolar_errors(first.rays[found[:, 0]], second.rays[found[:, 1]], second_from_first)
    return found[errors < tolerance]


def _epipolar_errors(
    first: FloatArray, second: FloatArray, second_from_first: FloatArray
) -> FloatArray:
    """Sampson distances of unit-depth rays, (K,); unit of the image plane at depth one."""
    rotation, translation = second_from_first[:3, :3], second_from_first[:3, 3]
    # E = [t]x R
    essential = np.cross(np.eye(3), translation) @ rotation
    lines_second, lines_first = first @ essential.T, second @ essential
    residual = np.abs(np.einsum('ki,ki->k', second, lines_second))
    gradient = np.hypot(
        np.linalg.norm(lines_second[:, :2], axis=1), np.linalg.norm(lines_first[:, :2], axis=1)
    )
    return np.asarray(residual / np.maximum(gradient, 1e-12))


def _unambiguous(component: Indices, frame: Indices, rays: FloatArray) -> Tracks:
    """Tracks without the frames in which they have two features."""
    order = np.lexsort((frame, component))
    component, frame = component[order], frame[order]
    same = (np.diff(component) == 0) & (np.diff(frame) == 0)
    once = np.ones(len(component), dtype=bool)
    once[1:] &= ~same
    once[:-1] &= ~same
    component, frame, order = component[once], frame[once], order[once]
    _, track = np.unique(component, return_inverse=True)
    return Tracks(track.astype(np.intp), frame, rays[order])
