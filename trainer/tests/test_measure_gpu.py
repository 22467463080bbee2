"""The measurement of a GPU: its steps are commands that exist, and none stops the others."""

import argparse
import os
import sys
from pathlib import Path

import pytest
import torch
from gpu import accuracy, command
from gpu.steps import STEPS

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc_trainer.commands import benchmark, evaluate
from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.recipes.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
DEMO_ROOM = ROOT / 'models' / 'demo_room.safetensors'


def _parsed(output: Path) -> argparse.Namespace:
    return argparse.Namespace(output=output, data='demo-room', checkpoint=DEMO_ROOM, epochs=7)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
@pytest.mark.parametrize('steps', [[], ['--steps', 'tests,train_paper', '--minutes', '1']])
def test_without_a_gpu_one_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: list[str]
) -> None:
    """Before anything is done."""
    assert command.main([str(tmp_path / 'output'), *steps]) == 1
    assert capsys.readouterr().err == (
        'measure_gpu: there is no CUDA device: nothing can be measured here\n'
    )
    assert not (tmp_path / 'output').exists()


def test_a_step_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), '--steps', 'tests,magic'])


def test_a_step_that_fails_or_takes_too_long_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each leaves a line in the summary and its own log."""
    programs = {
        'bad': 'import sys; print("no memory"); sys.exit(3)',
        'endless': 'import time; print("at it"); time.sleep(100)',
        'good': 'print("fine")',
    }
    commands = {name: [sys.executable, '-c', program] for name, program in programs.items()}
    with pytest.raises(ImplicitLocError, match=r'not done: bad, endless; see .*summary\.md'):
        command.do_all(commands, tmp_path, minutes=0.03)
    summary = (tmp_path / 'summary.md').read_text()
    assert '| bad | bad ended with status 3: no memory' in summary
    assert '| endless | stopped after 0.03 minutes' in summary
    assert '| good | ok |' in summary
    assert (tmp_path / 'good.log').read_text() == 'fine\n'
    command.do_all({'good': commands['good']}, tmp_path, minutes=1)


def test_beside_a_training_the_gpu_is_asked_how_busy_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside no other step; without NVIDIA's program, trainings do without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('shutil.which', lambda program: None)
        command.do_all({'train_paper': [sys.executable, '-c', '']}, tmp_path, minutes=1)
    assert not list(tmp_path.glob('*.csv'))
    program = tmp_path / 'nvidia-smi'
    program.write_text('#!/bin/sh\necho "$@"\nexec sleep 1\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    wait = [sys.executable, '-c', 'import time; time.sleep(0.5)']
    command.do_all({'train_default': wait, 'benchmark': wait}, tmp_path, minutes=1)
    (written,) = tmp_path.glob('*.csv')
    assert written.name == 'train_default.utilization.csv'
    assert '--query-gpu=utilization.gpu' in written.read_text()


@pytest.mark.parametrize('name', list(STEPS))
def test_every_step_is_a_command_that_exists(tmp_path: Path, name: str) -> None:
    words = STEPS[name](_parsed(tmp_path))
    assert words[:2] == [sys.executable, '-P']
    for word in words[2:]:
        assert not word.startswith(str(ROOT)) or Path(word).exists()
    if name not in ('tests', 'accuracy'):
        assert 'cuda' in words
    if name.startswith('benchmark'):
        parser = argparse.ArgumentParser()
        benchmark.add_arguments(parser)
        assert parser.parse_args(words[words.index('benchmark') + 1 :]).json.parent == tmp_path
    if name.startswith('evaluate_'):
        recipe = name.removeprefix('evaluate_')
        training = STEPS[f'train_{recipe}'](_parsed(tmp_path))
        output = Path(training[training.index('--run.output') + 1])
        parser = argparse.ArgumentParser()
        evaluate.add_arguments(parser)
        parsed = parser.parse_args(words[words.index('evaluate') + 1 :])
        assert parsed.checkpoint == output / 'checkpoint.safetensors'
        assert parsed.compare_solvers
        assert parsed.json.parent == tmp_path
        assert list(STEPS).index(name) > list(STEPS).index(f'train_{recipe}')
    if name.startswith('train_'):
        first = words.index('train') + 1
        recipe = load_recipe(words[first], words[first + 1 :])
        assert recipe.optimizer.epochs == 7
        assert recipe.run.output == str(tmp_path / name.removeprefix('train_'))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_accuracy_without_a_gpu_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / 'accuracy.json'
    assert accuracy.main(['--json', str(figures)]) == 1
    assert 'CUDA' in capsys.readouterr().out
    assert not figures.exists()


def test_two_ways_to_the_same_poses_do_not_differ() -> None:
    trained = load_checkpoint(DEMO_ROOM)
    localizers = [Localizer(*trained, 'cpu', runtime='eager') for _ in range(2)]
    samples = open_dataset('demo-room', 'test')[:60:20]
    figures = accuracy.compared(localizers[0], localizers[1], samples)
    assert figures['difference']['frames'] == len(samples)
    assert figures['difference']['largest_m'] == 0
    assert figures['found']['errors'] == figures['reference']['errors']
    assert figures['found']['solved_on_host'] == 1
    assert figures['found']['median_ms'] > 0
