"""The command line answers at once: what is heavy is imported where it is needed."""

import subprocess
import sys

import implicit_loc
from implicit_loc.localizer import Localizer, PoseEstimate

HELP = """
import sys
from implicit_loc_trainer import cli
try:
    cli.main(['--help'])
except SystemExit as stop:
    assert not stop.code
heavy = {'torch', 'torchvision', 'lightning', 'matplotlib', 'scipy', 'pycolmap', 'ray', 'timm'}
print('imported:', *sorted(heavy & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, '-c', HELP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'train-many' in done.stdout
    assert done.stdout.splitlines()[-1].split() == ['imported:']


def test_the_package_gives_its_localizer_when_asked() -> None:
    assert implicit_loc.Localizer is Localizer
    assert implicit_loc.PoseEstimate is PoseEstimate
    assert not hasattr(implicit_loc, 'Localiser')
    assert all(hasattr(implicit_loc, name) for name in implicit_loc.__all__)
