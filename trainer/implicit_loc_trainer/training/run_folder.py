"""The folder of a run: its recipe, its state for resuming, its checkpoint."""

from dataclasses import asdict
from pathlib import Path

import yaml

from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError

STATE = 'last.ckpt'
RECIPE = 'recipe.yaml'
CHECKPOINT = 'checkpoint.safetensors'


def prepare_folder(folder: Path, recipe: Recipe) -> Path | None:
    """Create the run's folder; returns the state to resume from, if it has one."""
    text = yaml.safe_dump(asdict(recipe), sort_keys=False)
    folder.mkdir(parents=True, exist_ok=True)
    recorded, state = folder / RECIPE, folder / STATE
    # Compared as recipes: an entry that is new in this version has its default in an older run.
    if state.is_file() and recorded.is_file() and load_recipe(recorded) != recipe:
        raise ConfigError(
            f'{folder} holds a run of another recipe ({recorded}): '
            'choose another --run.output, or delete the folder'
        )
    with replacing(recorded) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return state if state.is_file() else None
