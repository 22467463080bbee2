"""The command: rows, outputs, and what cannot be measured."""

import argparse
import json

import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint, save_checkpoint
from implicit_loc.errors import CheckpointError, ImplicitLocError
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.runtimes import RuntimeStatus
from implicit_loc_trainer.benchmark import alone
from implicit_loc_trainer.benchmark.candidates import Run, Setting, Subject
from implicit_loc_trainer.benchmark.made_up import made_up_views
from implicit_loc_trainer.benchmark.runtimes import RuntimeNotUsedError, require_used
from implicit_loc_trainer.benchmark.timing import Distribution, take_turns
from implicit_loc_trainer.commands import benchmark as command
from implicit_loc_trainer.output_files import OutputError

CAMERA = Camera(96, 64, 80.0, 80.0, 47.5, 31.5)
PEERS = {
    'peer:paper_eager',
    'peer:paper_network',
    'peer:backbone',
    'peer:pose_regression',
    'peer:pnp_ransac',
}
FIGURES = ('median_ms', 'p95_ms', 'p99_ms', 'images_per_s')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """An untrained network for images of 96x64 pixels."""
    torch.manual_seed(0)
    config = NetworkConfig(decoder_channels=8)
    description = CheckpointDescription(
        network=config,
        input_height=64,
        training_camera=CAMERA,
        dataset='nowhere',
        dataset_fingerprint='',
        extent=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )
    path = tmp_path_factory.mktemp('map') / 'map.safetensors'
    save_checkpoint(path, SceneNetwork(config).eval(), description)
    return path


def run(checkpoint, *words):
    """The exit status of the command, in eager PyTorch on one thread."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = ['--runtimes', 'eager', '--threads', '1', '--device', 'cpu', '--frames', '2']
    return command.run(parser.parse_args([str(checkpoint), *options, *map(str, words)]))


def test_every_size_has_a_row_for_everything(checkpoint, tmp_path, capsys):
    file, page = tmp_path / 'new' / 'figures.json', tmp_path / 'new' / 'tables.md'
    sizes = ('--heights', '64,48', '--strides', '16,8', '--no-memory')
    assert run(checkpoint, *sizes, '--json', file, '--markdown', page) == 0
    figures = json.loads(file.read_text())
    found = {(row['height'], row['stride'], row['name']) for row in figures['rows']}
    for size in ((48, 16), (48, 8), (64, 16), (64, 8)):
        assert {(*size, name) for name in PEERS | {'localize', 'stage:network'}} <= found
    for row in figures['rows']:
        assert row['runtime'] == 'eager'
        assert row['peak_mb'] is None
        assert all(row[name] > 0 for name in FIGURES)
        assert row['median_ms'] <= row['p95_ms'] <= row['p99_ms']
    by_stage = {(f['height'], f['stride'], f['stage']): f for f in figures['floor']}
    fine, coarse = by_stage[64, 8, 'network'], by_stage[64, 16, 'network']
    assert fine['multiply_adds'] > coarse['multiply_adds'] > 1e6
    assert fine['floor_ms'] > by_stage[64, 8, 'of it, the backbone']['floor_ms'] > 0
    printed = capsys.readouterr().out
    for text in ('(as trained)', 'peer:paper_eager', 'The floor', '64 / 8*'):
        assert text in printed
    lines = page.read_text().splitlines()
    assert any(line.startswith('| localize') for line in lines)
    # Nothing temporary stays behind.
    assert {path.name for path in file.parent.iterdir()} == {file.name, page.name}


def test_memory_and_start_up_are_those_of_a_process_of_its_own(checkpoint, tmp_path):
    setting = Setting(checkpoint, CAMERA, tmp_path, 'cpu', 1)
    (view,) = made_up_views(*load_checkpoint(checkpoint), 1)
    found = alone.needs(Subject('localize', 'eager'), setting, view)
    # PyTorch alone takes some 200 MB.
    assert 100 < found.peak_mb < 1200
    assert found.start_s > 0
    assert found.device_peak_mb == 0


def test_a_process_that_fails_says_why(tmp_path):
    setting = Setting(tmp_path / 'none.safetensors', CAMERA, tmp_path, 'cpu', 1)
    with pytest.raises(CheckpointError, match='does not exist'):
        alone.needs(Subject('localize', 'eager'), setting, None)


def test_candidates_answer_the_same_images_in_turns():
    asked, prepared = [], []

    def candidate(name):
        def answer(view):
            assert prepared.pop() == (view, name)
            asked.append((view, name))
            return {'network': 0.5} if view else {}

        return Run(answer, lambda view: prepared.append((view, name)))

    subjects = [Subject(name, 'eager') for name in 'ab']
    times = take_turns({one: candidate(one.name) for one in subjects}, [0, 1], turns=4)
    timed = asked[-8:]
    assert [view for view, _ in timed] == [0, 0, 1, 1, 0, 0, 1, 1]
    # Neither is always the first.
    assert [name for _, name in timed] == list('abbaabba')
    for one in subjects:
        assert len(times[one].total) == 4
        # A stage counts over the images that needed it.
        assert times[one].stages == {'network': [0.5, 0.5]}


def test_percentiles_are_in_milliseconds():
    figures = Distribution.of([0.001 * n for n in range(1, 102)])
    assert (figures.median_ms, figures.p95_ms, figures.p99_ms) == pytest.approx((51, 96, 100))
    assert figures.images_per_s == pytest.approx(1 / 0.051)


def test_a_runtime_that_gave_way_to_another_one_is_not_timed_under_its_name():
    eager = RuntimeStatus('torch 2.14.1 eager on cpu, 1 thread', 'ONNX Runtime is not installed')
    require_used('eager', eager)
    require_used('onnx', RuntimeStatus('onnxruntime 1.31.1 CPUExecutionProvider, 1 thread'))
    with pytest.raises(RuntimeNotUsedError, match='onnx does not work here: ONNX Runtime is not'):
        require_used('onnx', eager)


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        (('--runtimes', 'abacus'), "'abacus' is not known"),
        (('--device', 'abacus'), "'abacus' is not known"),
        (('--strides', '3'), 'stride 3 is not known'),
        (('--data', '/nowhere'), 'does not exist'),
    ],
)
def test_what_cannot_be_measured_is_one_clear_error(checkpoint, words, complaint):
    with pytest.raises(ImplicitLocError, match=complaint) as refused:
        run(checkpoint, '--no-memory', '--heights', '64', *words)
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('words', [('--heights', '0'), ('--strides', 'a'), ('--frames', '-1')])
def test_numbers_that_are_none_are_refused(checkpoint, words, capsys):
    with pytest.raises(SystemExit):
        run(checkpoint, *words)
    assert words[0] in capsys.readouterr().err


def test_an_unwritable_target_is_found_before_the_work(checkpoint, tmp_path):
    for option in ('--json', '--markdown'):
        with pytest.raises(OutputError, match='cannot be written'):
            run('/nowhere/map.safetensors', option, tmp_path)
