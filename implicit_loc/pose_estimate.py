"""What a localizer answers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.confidence import Evidence
from implicit_loc.network import SceneGeometry
from implicit_loc.uncertainty import ResidualStatistics

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PoseEstimate:
    """Where the camera was, and how sure that is.

    Attributes:
        world_from_camera: (4, 4), metres, optical frame.
        first_pose: world_from_camera of the closed form that the pose was refined from, on
            cells, on landmarks or on both; without refinement the same pose.
        used_consensus: whether the pose comes from the robust fallback, directly or by way of
            landmarks.
        covariance: (6, 6) of the camera's pose: x y z, then rotation about the fixed axes
            X Y Z of the world frame; m2 and rad2.
        confidence: in [0, 1].
        evidence: what the confidence follows from.
        residuals: agreement of the predicted clouds under the pose.
        geometry: the prediction: world points (h, w, 3), depth (h, w), weights (h, w); with
            descriptors only where the host looked for landmarks.
        camera: intrinsics of the network's input, to which the cells belong.
        timings: seconds of 'preprocessing', 'network', 'alignment', 'refinement', 'consensus',
            'landmarks', 'uncertainty' (those that were needed) and 'total'. What is solved on
            a GPU, together with the network, is part of 'network'.
        landmarks_found: where a GPU has looked for them, column and row of the pixels of the
            network's input where landmarks of the map were found, and whether the pose sees them
            there (1 or 0), (N, 3).
    """

    world_from_camera: FloatArray
    first_pose: FloatArray
    used_consensus: bool
    covariance: FloatArray
    confidence: float
    evidence: Evidence
    residuals: ResidualStatistics
    geometry: SceneGeometry[NDArray[np.float32]]
    camera: Camera
    timings: dict[str, float]
    landmarks_found: FloatArray | None = None
