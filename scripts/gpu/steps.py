"""What is done on a GPU, each as a command of its own."""

import argparse
import sys
from collections.abc import Callable

from replay.child_process import ROOT

from implicit_loc_trainer.training.run_folder import CHECKPOINT

Command = list[str]

_CONFIGS = ROOT / 'trainer' / 'configs'
# Without the current folder, in which launch is a folder and no package.
_PYTHON = [sys.executable, '-P']


def tests(parsed: argparse.Namespace) -> Command:
    """Those of the CUDA graph."""
    found = (ROOT / 'test' / 'core' / name for name in ('runtimes', 'device_solving'))
    report = f'--junitxml={parsed.output / "tests.xml"}'
    return [*_PYTHON, '-m', 'pytest', '-rs', '-p', 'no:cacheprovider', report, *map(str, found)]


def benchmark(parsed: argparse.Namespace) -> Command:
    """Times of every runtime at the usual size, beside what they would replace."""
    return _benchmark(parsed, 'benchmark', '--heights', '240', '--strides', '8', '--no-memory')


def benchmark_sizes(parsed: argparse.Namespace) -> Command:
    """Times and memory at all sizes."""
    return _benchmark(parsed, 'benchmark_sizes')


def _benchmark(parsed: argparse.Namespace, name: str, *options: str) -> Command:
    inputs = [str(parsed.checkpoint), '--data', str(parsed.data), '--device', 'cuda', *options]
    figures, tables = (str(parsed.output / f'{name}.{kind}') for kind in ('json', 'md'))
    return _implicit_loc('benchmark', *inputs, '--json', figures, '--markdown', tables)


def accuracy(parsed: argparse.Namespace) -> Command:
    """Every frame by the CUDA graph, and by eager PyTorch on the CPU."""
    outputs = ['--json', str(parsed.output / 'accuracy.json')]
    inputs = ['--data', str(parsed.data), '--checkpoint', str(parsed.checkpoint)]
    return [*_PYTHON, '-m', 'gpu.accuracy', *inputs, *outputs]


def _training(recipe: str) -> Callable[[argparse.Namespace], Command]:
    def train(parsed: argparse.Namespace) -> Command:
        entries = {
            'data.path': parsed.data,
            'run.output': parsed.output / recipe,
            'run.device': 'cuda',
            # Both learn the same frames.
            'data.validation_frames': 25,
            'data.calibration_share': 0.0,
            'run.save_every_minutes': 1,
            'optimizer.epochs': parsed.epochs,
        }
        replaced = [text for name, value in entries.items() for text in (f'--{name}', str(value))]
        return _implicit_loc('train', str(_CONFIGS / f'{recipe}.yaml'), *replaced)

    return train


def _evaluation(recipe: str) -> Callable[[argparse.Namespace], Command]:
    def evaluate(parsed: argparse.Namespace) -> Command:
        checkpoint = str(parsed.output / recipe / CHECKPOINT)
        figures = str(parsed.output / f'evaluate_{recipe}.json')
        inputs = [checkpoint, '--data', str(parsed.data), '--device', 'cuda']
        return _implicit_loc('evaluate', *inputs, '--compare-solvers', '--json', figures)

    return evaluate


def training_speed(parsed: argparse.Namespace) -> Command:
    """Steps of the training against those of a plain loop, on made-up images."""
    program = ROOT / 'trainer' / 'benchmarks' / 'training_speed.py'
    return [*_PYTHON, str(program), str(_CONFIGS / 'default.yaml'), '--device', 'cuda']


def _implicit_loc(*arguments: str) -> Command:
    return [*_PYTHON, '-m', 'implicit_loc_trainer', *arguments]


STEPS: dict[str, Callable[[argparse.Namespace], Command]] = {
    'tests': tests,
    'accuracy': accuracy,
    'benchmark': benchmark,
    'benchmark_sizes': benchmark_sizes,
    'training_speed': training_speed,
    'train_default': _training('default'),
    'evaluate_default': _evaluation('default'),
    'train_paper': _training('paper'),
    'evaluate_paper': _evaluation('paper'),
}
# Beside the others, asking the GPU how busy it is would disturb what they measure.
WATCHED = ('train_default', 'train_paper')
