"""The command on a localizer whose answers are known."""

import argparse
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from known_localizer import CAMERA, KnownLocalizer, samples

from implicit_loc import runtimes
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc_trainer import datasets
from implicit_loc_trainer.commands import evaluate as command
from implicit_loc_trainer.evaluation import pictures
from implicit_loc_trainer.output_files import OutputError


@pytest.fixture
def evaluate_command(monkeypatch):
    """Runs the command with arguments, on a known checkpoint and recording."""

    def run(errors_m, *words, recording=None):
        known = KnownLocalizer(errors_m)
        monkeypatch.setattr(Localizer, 'load', known.load)
        monkeypatch.setattr(
            datasets, 'open_dataset', lambda *_: recording or samples(len(errors_m))
        )
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        arguments = ['model.safetensors', '--data', 'room', *map(str, words)]
        assert command.run(parser.parse_args(arguments)) == 0
        return known

    return run


def test_the_command_writes_all_that_was_asked_for(tmp_path, evaluate_command, capsys):
    folder = tmp_path / 'new'
    outputs = {name: folder / f'figures.{name}' for name in ('json', 'csv', 'tum')}
    words = [word for name, path in outputs.items() for word in (f'--{name}', path)]
    evaluate_command(
        [0.01, None, 0.4, 0.1],
        *('--compare-solvers', '--lost', *words, '--pictures', folder / 'pictures'),
    )
    printed = capsys.readouterr().out
    for text in ('4 (1)', 'pnp_ransac', 'gross failures', 'all weights are zero', 'AUROC'):
        assert text in printed
    figures = json.loads(outputs['json'].read_text())
    assert figures['lost'] == 1
    assert figures['runtime'] == 'known geometry'
    assert {'weighted', 'pnp_ransac'} <= {row['name'] for row in figures['solvers']}
    assert set(figures['lost_detection']) == {'frames', 'auroc', 'accepted', 'kinds'}
    names = {path.name for path in folder.rglob('*') if path.is_file()}
    # Nothing temporary stays behind.
    assert names == {path.name for path in outputs.values()} | set(pictures.PICTURES)
    for name in pictures.PICTURES:
        assert cv2.imread(str(folder / 'pictures' / name)).std() > 1.0


def test_no_file_beside_the_checkpoint_decides_what_executes_it(evaluate_command):
    known = evaluate_command([0.1], '--device', 'cpu')
    assert known.executed == ('eager', None)
    assert known.warmed == []


def test_a_gpu_runs_what_the_node_runs_for_every_size_of_image(evaluate_command, monkeypatch):
    """Ready before the first frame; those of a size that is refused are lost one by one."""
    cameras = [CAMERA, replace(CAMERA, width=240), replace(CAMERA, fx=90.0)]
    recording = [
        replace(sample, camera=camera) for sample, camera in zip(samples(3), cameras, strict=True)
    ]
    monkeypatch.setattr(runtimes, 'select_device', lambda name: torch.device('cuda:0'))
    known = evaluate_command([0.1], recording=recording)
    assert known.executed == ('auto', None)
    assert [camera.width for camera in known.warmed] == [CAMERA.width, 240]


def test_the_masks_of_a_folder_reach_the_localizer(tmp_path, evaluate_command):
    mask = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    mask[:10] = 255
    cv2.imwrite(str(tmp_path / '000001.png'), mask)
    known = evaluate_command([0.1, 0.1, 0.1], '--masks', tmp_path)
    assert [given is not None for given in known.masks] == [False, True, False]
    np.testing.assert_array_equal(known.masks[1], mask > 0)
    assert evaluate_command([0.1]).masks == [None]


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        (('--masks', '/nowhere'), 'no frame has a mask in /nowhere'),
        (('--masks', 'x', '--segmentation', 'fcn_resnet50'), 'exclude each other'),
        (('--segmentation', 'fcn_resnet50'), 'needs --segmentation-weights'),
        (('--ignore-classes', 'car'), 'needs --segmentation MODEL'),
        (('--segmentation-weights', 'x.pth'), 'needs --segmentation MODEL'),
        (('--segmentation', 'unet', '--segmentation-weights', 'x.pth'), "'unet' is not one of"),
    ],
)
def test_masks_that_cannot_be_had_are_one_clear_error(evaluate_command, words, complaint):
    with pytest.raises(ImplicitLocError, match=complaint):
        evaluate_command([0.1], *words)


@pytest.mark.parametrize('value', ['1.5', '-0.1', 'nan', 'much'])
def test_a_least_confidence_out_of_range_is_refused(evaluate_command, value, capsys):
    with pytest.raises(SystemExit):
        evaluate_command([0.1], f'--min-confidence={value}')
    assert '--min-confidence' in capsys.readouterr().err


def test_an_unwritable_target_is_found_before_the_evaluation(tmp_path, evaluate_command):
    (tmp_path / 'file').write_text('kept')
    for words in (
        ('--json', tmp_path),
        ('--csv', tmp_path / 'file' / 'frames.csv'),
        ('--pictures', tmp_path / 'file'),
    ):
        # An empty list of errors fails at the first frame: the check must come first.
        with pytest.raises(OutputError, match='cannot be written'):
            evaluate_command([], *words)
    assert (tmp_path / 'file').read_text() == 'kept'
