"""Arguments that the commands share which run the node on a recording."""

import argparse
from pathlib import Path

from replay.child_process import ROOT


def add_map(parser: argparse.ArgumentParser) -> None:
    """Declares --data and --checkpoint: a place, and the map that was trained for it."""
    add = parser.add_argument
    add('--data', metavar='PATH', default='demo-room', help='a recording with poses')
    add(
        '--checkpoint',
        metavar='FILE',
        type=Path,
        default=ROOT / 'models' / 'demo_room.safetensors',
        help='trained for this place',
    )
