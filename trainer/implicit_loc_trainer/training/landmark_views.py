"""Where the landmarks of a frame appear in a view of it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc_trainer.training.augmentation import View, inside_image

# Of a frame's some hundred landmarks; every epoch draws others.
_MOST_LANDMARKS = 256
_LEAST_DEPTH_M = 0.05


def seen_landmarks(
    view: View, landmarks: NDArray[np.float64] | None, camera: Camera, rng: np.random.Generator
) -> View:
    """The view with the landmarks that lie in its image.

    Args:
        view: left as it is.
        landmarks: world points that its frame shows, (N, 3); None = none.
        camera: of the view.
        rng: of the view; chooses where there are too many.
    """
    rows = np.zeros((_MOST_LANDMARKS, 6), dtype=np.float32)
    if landmarks is not None and len(landmarks):
        rotation, translation = view.world_from_camera[:3, :3], view.world_from_camera[:3, 3]
        seen = (landmarks - translation) @ rotation
        in_front = seen[:, 2] > _LEAST_DEPTH_M
        pixels = camera.project(np.where(in_front[:, None], seen, (0.0, 0.0, 1.0)))
        shown = np.flatnonzero(in_front & inside_image(pixels, camera))
        chosen = rng.permutation(shown)[:_MOST_LANDMARKS]
        rows[: len(chosen), :2] = pixels[chosen]
        rows[: len(chosen), 2:5] = landmarks[chosen]
        rows[: len(chosen), 5] = seen[chosen, 2]
    return replace(view, landmarks=rows)
