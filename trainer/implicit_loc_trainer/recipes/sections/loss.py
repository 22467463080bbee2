"""What the training minimises."""

from dataclasses import dataclass
from typing import Literal

from implicit_loc_trainer.recipes.sections.ranges import ConfigError, require


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms, and the curriculum of the reprojection error; 0 = off.

    Attributes:
        pose: of |t - t*| (metres) + angle(R, R*) (radians).
        refined_pose: of the same error of the refined pose, through the refinement's last step.
        consistency: of the mean |g - (R* c + t*)|, metres.
        reprojection: of the mean reprojection error, pixels.
        likelihood: of the weights as inverse variances: the negative log-likelihood of
            |g - (R* c + t*)| under a Laplace density of scale likelihood_scale_m / sqrt(w).
        likelihood_scale_m: scale of the residuals in cells of weight 1, metres.
        likelihood_moves_geometry: whether that term also trains world points and depth; else it
            trains the weights to tell how wrong these are.
        landmarks: of the mean |g - X| at landmarks X, which are triangulated from features of the
            recording before the training, metres.
        landmark_depth: of the mean error of the depth there, metres.
        curve: 'tanh' clamps the reprojection error softly, 'none' takes it as it is (the paper).
        tau_start_px: soft clamp of the reprojection error at the beginning, pixels.
        tau_end_px: the same at the end.
        fallback_depth_share: where a world point has no sensible pixel, it is pulled to the
            point at this share of the far depth on its ray.
    """

    pose: float = 1.0
    refined_pose: float = 0.0
    consistency: float = 1.0
    reprojection: float = 0.05
    likelihood: float = 0.0
    likelihood_scale_m: float = 0.02
    likelihood_moves_geometry: bool = False
    landmarks: float = 0.0
    landmark_depth: float = 0.0
    curve: Literal['tanh', 'none'] = 'tanh'
    tau_start_px: float = 50.0
    tau_end_px: float = 1.0
    fallback_depth_share: float = 0.2

    def __post_init__(self) -> None:
        terms = (
            'pose',
            'refined_pose',
            'consistency',
            'reprojection',
            'likelihood',
            'landmarks',
            'landmark_depth',
        )
        require('loss', self, at_least=dict.fromkeys(terms, 0))
        positive = ('likelihood_scale_m', 'tau_start_px', 'tau_end_px', 'fallback_depth_share')
        require(
            'loss', self, above=dict.fromkeys(positive, 0), at_most={'fallback_depth_share': 1}
        )
        if not any(getattr(self, term) for term in terms):
            raise ConfigError('all weights of the loss are 0: there is nothing to learn from')
