"""The sections of a recipe: plain data that refuses values out of range, one file each."""

from implicit_loc_trainer.recipes.sections.augmentation import AugmentationConfig
from implicit_loc_trainer.recipes.sections.data import DataConfig
from implicit_loc_trainer.recipes.sections.loss import LossConfig
from implicit_loc_trainer.recipes.sections.map import MapConfig
from implicit_loc_trainer.recipes.sections.network import NetworkSection
from implicit_loc_trainer.recipes.sections.optimizer import OptimizerConfig
from implicit_loc_trainer.recipes.sections.ranges import ConfigError
from implicit_loc_trainer.recipes.sections.run import RunConfig

__all__ = [
    'AugmentationConfig',
    'ConfigError',
    'DataConfig',
    'LossConfig',
    'MapConfig',
    'NetworkSection',
    'OptimizerConfig',
    'RunConfig',
]
