"""One process of a training that was launched on this machine: `python -m ... RECIPE.yaml`."""

import json
import os
import sys
import time
from pathlib import Path

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.child_processes import end_with_parent
from implicit_loc_trainer.recipes.recipe import load_recipe

# The launcher tells a message for people from a programming error by it.
KNOWN_ERROR = 3


def main(path: str) -> int:
    """Take part in the training of a recipe; returns the exit status."""
    end_with_parent()
    from implicit_loc_trainer.training.runs import train

    try:
        train(load_recipe(path))
    except (ImplicitLocError, OSError) as error:
        # In the form in which torchrun's launcher expects it.
        report = json.dumps({'message': str(error), 'timestamp': int(time.time())})
        Path(os.environ['TORCHELASTIC_ERROR_FILE']).write_text(report, encoding='utf-8')
        return KNOWN_ERROR
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
