"""What is seen of a training: TensorBoard, the progress, the report at its end."""

import os
import re
import resource
import threading

import numpy as np
import pytest
import small_training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.report import writing
from implicit_loc_trainer.training import runs
from implicit_loc_trainer.training.progress import Pace, duration_text
from implicit_loc_trainer.training.watching import TensorBoardLog


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A run of three epochs that validates after the second and the third."""
    folder = tmp_path_factory.mktemp('watched') / 'run'
    with pytest.MonkeyPatch.context() as patch:
        small_training.use(patch, small_training.samples())
        runs.train(small_training.recipe(folder, report=True))
    return folder


def events(folder):
    accumulator = EventAccumulator(str(folder / 'tensorboard'))
    accumulator.Reload()
    return accumulator


def test_tensorboard_gets_figures_of_every_epoch_and_pictures_of_validations(folder):
    found = events(folder)
    steps = [3 * epoch - 1 for epoch in (1, 2, 3)]
    for name in ('loss/total', 'loss/reprojection', 'learning_rate', 'images_per_second'):
        assert [event.step for event in found.Scalars(name)] == steps, name
    rates = [event.value for event in found.Scalars('learning_rate')]
    assert rates[0] > rates[1] > rates[2] > 0
    errors = found.Scalars('validation/median_translation_m')
    assert [event.step for event in errors] == steps[1:]
    names = found.Tags()['images']
    assert names == ['held_out/frame-0']
    pictures = found.Images(names[0])
    assert len(pictures) == 2
    assert pictures[0].width == 4 * 240


def test_the_csv_log_has_the_same_figures(folder):
    text = next(folder.glob('log/**/metrics.csv')).read_text()
    for name in ('loss/total', 'learning_rate', 'validation/median_rotation_deg'):
        assert name in text.splitlines()[0]


def test_a_training_ends_with_its_report(folder):
    text = (folder / 'report.html').read_text(encoding='utf-8')
    _, description = load_checkpoint(folder / 'checkpoint.safetensors')
    reported = float(re.search(r'Median error ([0-9.]+) cm', text)[1])
    # The checkpoint keeps half of each weight's digits.
    assert reported == pytest.approx(
        100 * description.validation['median_translation_m'], rel=0.05
    )
    assert '<figcaption>Learning rate</figcaption>' in text
    assert 'frames that were watched during the training' in text


def test_a_report_that_fails_leaves_the_checkpoint(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise KeyError('no such thing')

    small_training.use(monkeypatch, small_training.samples())
    monkeypatch.setattr(writing, 'measure', fail)
    recipe = small_training.with_epochs(small_training.recipe(tmp_path, report=True), 1)
    path = runs.train(recipe)
    assert load_checkpoint(path)
    printed = capsys.readouterr().out
    assert "warning: no report was written (KeyError: 'no such thing')" in printed
    assert f'implicit-loc report {path} --data made-up' in printed
    assert not (tmp_path / 'report.html').exists()


def test_a_report_can_be_switched_off(tmp_path, monkeypatch):
    small_training.use(monkeypatch, small_training.samples())
    runs.train(small_training.with_epochs(small_training.recipe(tmp_path, report=False), 1))
    assert not (tmp_path / 'report.html').exists()


def test_a_log_that_cannot_be_made_ends_no_training(tmp_path, monkeypatch, capsys):
    (tmp_path / 'tensorboard').write_text('in the way')
    small_training.use(monkeypatch, small_training.samples())
    recipe = small_training.with_epochs(small_training.recipe(tmp_path, report=False), 2)
    assert load_checkpoint(runs.train(recipe))
    assert capsys.readouterr().out.count('TensorBoard gets nothing more') == 1


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_full_disk_ends_the_log_and_nothing_else(tmp_path, monkeypatch):
    """A limit on file sizes stands in for the disk; the writer fails in its own thread."""
    monkeypatch.setattr(threading, 'excepthook', lambda _: None)
    lines = []
    log = TensorBoardLog(tmp_path, lines.append)
    log.log_metrics({'loss': 1.0}, 1)
    log.save()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        for step in range(5):
            log.log_picture('noise', noise, step)
            log.save()
            log.log_metrics({'loss': 1.0}, step)
        log.finalize('success')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(lines) == 1
    assert os.strerror(27) in lines[0]


def test_the_speed_is_that_of_the_last_minute_also_after_a_resume():
    pace = Pace(60.0, now=1000.0, step=500)
    assert pace.update(1000.0, 500) == 0.0
    for second in range(1, 100):
        slow = pace.update(1000.0 + second, 500 + second)
    assert slow == pytest.approx(1.0)
    for second in range(1, 100):
        fast = pace.update(1099.0 + second, 599 + 3 * second)
    assert fast == pytest.approx(3.0)


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(5.4, '5 s'), (59.4, '59 s'), (90, '2 min'), (3599, '1 h 00 min'), (7500, '2 h 05 min')],
)
def test_times_left_are_easy_to_read(seconds, text):
    assert duration_text(seconds) == text
