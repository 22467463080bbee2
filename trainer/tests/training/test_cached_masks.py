"""Frames on disk keep the masks of the recording as it is now."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import small_training
from rich.console import Console

from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.sections import DataConfig
from implicit_loc_trainer.training.frame_cache import FrameCache


def _masked(ignore: bool) -> list[Sample]:
    mask = np.full((small_training.CAMERA.height, small_training.CAMERA.width), ignore)
    return [replace(s, load_mask=lambda: mask) for s in small_training.samples(6)]


def test_changed_masks_are_read_again(tmp_path: Path) -> None:
    config = DataConfig(path='made-up', cache_folder=str(tmp_path))
    for ignore in (False, True):
        cache = FrameCache(_masked(ignore), 32, config, Console(quiet=True))
        for frame in cache.frames(on_disk=True):
            assert frame.load_mask is not None
            assert (frame.load_mask() == ignore).all()
