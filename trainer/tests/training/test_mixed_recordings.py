"""The frames of a training, from the recordings that its recipe names."""

import pytest

from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.mixed_recordings import training_frames


def test_a_recipe_without_a_recording_says_how_to_name_one() -> None:
    with pytest.raises(DataError, match=r'data\.path is empty: .*--data\.path RECORDING'):
        training_frames(Recipe())
