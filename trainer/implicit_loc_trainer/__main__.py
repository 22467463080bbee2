"""Entry point of `python -m implicit_loc_trainer`, the same as the command `implicit-loc`."""

import sys

from implicit_loc_trainer.cli import main

if __name__ == '__main__':
    sys.exit(main())
