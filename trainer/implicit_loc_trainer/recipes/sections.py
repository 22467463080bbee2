"""The sections of a recipe: plain data that refuses values out of range."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from implicit_loc.errors import ImplicitLocError


class ConfigError(ImplicitLocError):
    """A recipe cannot be used as it is."""


def _require(
    section: str,
    values: object,
    at_least: Mapping[str, float] = MappingProxyType({}),
    above: Mapping[str, float] = MappingProxyType({}),
    at_most: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Refuse numbers out of range, NaN included."""
    for limits, words, fits in (
        (at_least, 'at least', operator.ge),
        (above, 'above', operator.gt),
        (at_most, 'at most', operator.le),
    ):
        for name, limit in limits.items():
            found = getattr(values, name)
            if not fits(found, limit):
                raise ConfigError(f'{section}.{name} is {found}; it must be {words} {limit:g}')


@dataclass(frozen=True)
class DataConfig:
    """Which recording to learn.

    Attributes:
        path: the recording, or 'demo-room'.
        train_split: 'train', 'test', or a file that lists frame names.
        validation_split: frames to watch during the training, never learned from.
        validation_frames: at most this many of them, evenly spaced; 0 = no validation.
    """

    path: str = ''
    train_split: str = 'train'
    validation_split: str = 'test'
    validation_frames: int = 50

    def __post_init__(self) -> None:
        _require('data', self, at_least={'validation_frames': 0})


@dataclass(frozen=True)
class NetworkSection:
    """Layout of the network; what depends on the data is filled in by the trainer.

    Attributes:
        backbone: a key of implicit_loc.backbones.BACKBONES.
        stride: input pixels per output cell: 4, 8 or 16.
        decoder_channels: width of the decoder.
        near: least depth, metres.
        far: largest depth, metres.
        input_height: to which images are resized, pixels.
    """

    backbone: str = 'mobilenet_v3_large'
    stride: int = 8
    decoder_channels: int = 128
    near: float = 0.1
    far: float = 10.0
    input_height: int = 240

    def __post_init__(self) -> None:
        _require('network', self, at_least={'decoder_channels': 1, 'input_height': 32})


@dataclass(frozen=True)
class AugmentationConfig:
    """How far each training image is varied; 0 (or 1 for the zoom) switches a term off.

    Attributes:
        roll_deg: rotation in the image plane, +- degrees (the paper: 30).
        tilt_deg: rotation about the two axes across, +- degrees (the paper: 0).
        zoom: the focal length is scaled by a factor in [1 / zoom, zoom] (the paper: 1).
        brightness: factor in [1 - b, 1 + b].
        contrast: factor in [1 - c, 1 + c].
        saturation: factor in [1 - s, 1 + s].
        hue_deg: shift of the hue, +- degrees.
        blur: probability of a slight Gaussian blur.
    """

    roll_deg: float = 30.0
    tilt_deg: float = 15.0
    zoom: float = 1.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue_deg: float = 10.0
    blur: float = 0.2

    def __post_init__(self) -> None:
        angles = {'roll_deg': 180, 'tilt_deg': 45, 'hue_deg': 180}
        shares = dict.fromkeys(('brightness', 'contrast', 'saturation', 'blur'), 1)
        limits = {**angles, **shares}
        _require('augmentation', self, at_least=dict.fromkeys(limits, 0), at_most=limits)
        _require('augmentation', self, at_least={'zoom': 1})


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms, and the curriculum of the reprojection error.

    Attributes:
        pose: of |t - t*| (metres) + angle(R, R*) (radians).
        consistency: of the mean |g - (R* c + t*)|, metres.
        reprojection: of the mean reprojection error, pixels.
        tau_start_px: soft clamp of the reprojection error at the beginning, pixels.
        tau_end_px: the same at the end.
        fallback_depth_share: where a world point has no sensible pixel, it is pulled to the
            point at this share of the far depth on its ray.
    """

    pose: float = 1.0
    consistency: float = 1.0
    reprojection: float = 0.05
    tau_start_px: float = 50.0
    tau_end_px: float = 1.0
    fallback_depth_share: float = 0.2

    def __post_init__(self) -> None:
        _require('loss', self, at_least={'pose': 0, 'consistency': 0, 'reprojection': 0})
        _require('loss', self, above=dict.fromkeys(('tau_start_px', 'tau_end_px'), 0))
        _require(
            'loss', self, above={'fallback_depth_share': 0}, at_most={'fallback_depth_share': 1}
        )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a one-cycle schedule.

    Attributes:
        epochs: passes over the recording.
        batch_size: images a step.
        learning_rate: at the peak of the cycle.
        weight_decay: decoupled.
        clip_gradient: largest norm of the gradient.
        warm_up_share: of all steps, with rising learning rate.
    """

    epochs: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    clip_gradient: float = 1.0
    warm_up_share: float = 0.05

    def __post_init__(self) -> None:
        _require('optimizer', self, at_least={'epochs': 1, 'batch_size': 2, 'weight_decay': 0})
        _require('optimizer', self, above={'learning_rate': 0, 'clip_gradient': 0})
        _require('optimizer', self, at_least={'warm_up_share': 0}, at_most={'warm_up_share': 1})


@dataclass(frozen=True)
class RunConfig:
    """How and where the training runs.

    Attributes:
        output: folder of the run: state for resuming, the checkpoint, the log.
        start_from: checkpoint whose weights the training begins with; empty = from scratch.
        device: 'auto', 'cpu' or 'cuda'.
        seed: of weights, order and augmentation.
        validate_every: epochs between validations.
        threads: of PyTorch on a CPU; 0 = its own choice.
        workers: processes that make the views on a CPU; 0 = the training's own. On CUDA there
            are as many as there are cores to spare, up to eight.
    """

    output: str = 'runs/default'
    start_from: str = ''
    device: str = 'auto'
    seed: int = 1
    validate_every: int = 10
    threads: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        _require('run', self, at_least={'validate_every': 1, 'threads': 0, 'workers': 0})
