"""The process that trains one scene: `implicit-loc train`, but it ends with its parent."""

import sys

from implicit_loc_trainer.child_processes import end_with_parent
from implicit_loc_trainer.cli import main

if __name__ == '__main__':
    end_with_parent()
    sys.exit(main(['train', *sys.argv[1:]]))
