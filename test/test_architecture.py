"""The house keeps its order: arrows between rooms, size of files, one package, one licence."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ('implicit_loc', 'implicit_loc_ros', 'launch', 'pip_ros', 'scripts', 'test', 'trainer')
MAXIMUM_LINES = 300

BLOCKED_IMPORT = """
import importlib, pkgutil, sys

BLOCKED = {'rclpy', 'lightning', 'matplotlib', 'implicit_loc_ros', 'implicit_loc_trainer'}

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in BLOCKED:
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Wall())
import implicit_loc
for module in pkgutil.walk_packages(implicit_loc.__path__, 'implicit_loc.'):
    importlib.import_module(module.name)
assert not BLOCKED & set(sys.modules)
"""

# Arrows: implicit_loc_trainer -> implicit_loc <- implicit_loc_ros.
FORBIDDEN = {
    'implicit_loc': {'implicit_loc_ros', 'implicit_loc_trainer', 'lightning', 'rclpy'},
    'implicit_loc_ros': {'implicit_loc_trainer', 'lightning'},
    'trainer/implicit_loc_trainer': {'implicit_loc_ros', 'rclpy'},
    'pip_ros': {'implicit_loc', 'implicit_loc_ros', 'implicit_loc_trainer'},
}


def python_files() -> list[Path]:
    """Return all Python files of the project, and of it alone."""
    found = [*ROOT.glob('*.py')]
    for room in ROOMS:
        found += (ROOT / room).rglob('*.py')
    return [path for path in found if 'build' not in path.relative_to(ROOT).parts]


def imported_packages(path: Path) -> set[str]:
    """Return the first part of every name that a file imports, at its top or deeper."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition('.')[0] for name in names}


def package_xml(tag: str) -> str:
    """Return the text of a tag of package.xml."""
    text = ElementTree.parse(ROOT / 'package.xml').getroot().findtext(tag)
    assert text is not None
    return text.strip()


def tool(name: str) -> str:
    """Return the path of a command beside the interpreter or on PATH; skip where it is missing."""
    found = shutil.which(name, path=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    if found is None:
        pytest.skip(f'{name} is not installed')
    return found


def test_core_imports_without_ros_training_and_pictures():
    done = subprocess.run(
        [sys.executable, '-c', BLOCKED_IMPORT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('room', FORBIDDEN)
def test_no_room_imports_against_the_arrows(room: str):
    wrong = {
        f'{path.relative_to(ROOT)} imports {name}'
        for path in (ROOT / room).rglob('*.py')
        for name in imported_packages(path) & FORBIDDEN[room]
    }
    assert not wrong


def test_ruff_reports_a_wrong_arrow_in_each_room():
    ruff = tool('ruff')
    for room, forbidden in FORBIDDEN.items():
        for name in forbidden:
            done = subprocess.run(
                [ruff, 'check', '--no-cache', '--stdin-filename', f'{room}/probe.py', '-'],
                cwd=ROOT,
                input=f'import {name}\n',
                capture_output=True,
                text=True,
                check=False,
            )
            assert 'TID251' in done.stdout, f'{room} may import {name}'


def test_no_file_is_longer_than_a_reader_likes():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding='utf-8').splitlines())
        for path in python_files()
    }
    assert lengths
    assert not {path: lines for path, lines in lengths.items() if lines > MAXIMUM_LINES}


def test_the_long_test_files_exist():
    """A file that was renamed would begin late without a word."""
    long = runpy.run_path(str(ROOT / 'conftest.py'))['LONG']
    assert [name for name in long if not (ROOT / name).is_file()] == []


def test_colcon_sees_exactly_one_package():
    done = subprocess.run(
        [tool('colcon'), 'list', '--base-paths', str(ROOT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    name, _, kind = line.split('\t')
    assert (name, kind) == ('implicit_loc_ros', '(ros.ament_python)')


def test_licence_and_version_are_the_same_everywhere():
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    trainer = (ROOT / 'trainer' / 'pyproject.toml').read_text(encoding='utf-8')
    version = package_xml('version')
    assert f"version='{version}'" in setup
    assert f"version = '{version}'" in trainer
    assert package_xml('license') == 'Apache-2.0'
    assert "license='Apache-2.0'" in setup
    text = (ROOT / 'LICENSE').read_text(encoding='utf-8')
    assert re.search(r'Apache License\s+Version 2\.0, January 2004', text)
    assert 'END OF TERMS AND CONDITIONS' in text
