"""The page stands alone, holds every section, and says what the evaluation says."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from known_localizer import KnownLocalizer, samples, write

from implicit_loc.localizer import Localizer
from implicit_loc_trainer import cli, datasets
from implicit_loc_trainer.commands import report as command
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.evaluation.tables import cells
from implicit_loc_trainer.report.measuring import measure
from implicit_loc_trainer.report.page import SECTIONS
from implicit_loc_trainer.report.scene_view import scene

ERRORS = [0.01, 0.02, None, 0.4, 0.1, 0.03]
VOID = {'meta', 'link', 'img', 'input', 'br'}


class Page(HTMLParser):
    """Elements, what they refer to, and the text of each script by its id."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.references, self.open, self.scripts = [], [], [], {}
        self.pictures = 0
        self.feed(text)
        self.close()
        assert self.open == [], 'an element is not closed'

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values['id']] if 'id' in values else []
        names = ('src', 'href', 'xlink:href', 'srcset', 'action', 'data')
        self.references += [values[name] for name in names if name in values]
        self.pictures += tag == 'img'
        if tag not in VOID:
            self.open.append((tag, values.get('id')))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == 'script':
            self.scripts[self.open[-1][1]] = data


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')
    (folder / 'log' / 'version_0').mkdir(parents=True)
    (folder / 'log' / 'version_0' / 'metrics.csv').write_text(
        'epoch,loss/total,loss/pose,learning_rate,validation/median_translation_m,step\n'
        '0,3.5,1.5,0.001,,4\n1,2.5,1.0,0.0005,0.2,9\n'
    )
    (folder / 'recipe.yaml').write_text('optimizer: {epochs: 77}\n')
    with pytest.MonkeyPatch.context() as patch:
        return write(patch, folder / 'page.html', ERRORS, run=folder)


def test_the_page_needs_nothing_but_itself(text):
    page = Page(text)
    for reference in page.references:
        assert reference.startswith(('data:', '#'))
    assert not re.search(r'https?://|@import|fetch\(|XMLHttpRequest|import\(', text)
    for target in re.findall(r'url\(([^)]*)\)', text):
        assert target.startswith('#')
    assert len(text) < 6_000_000


def test_every_section_is_there_and_every_identifier_once(text):
    page = Page(text)
    assert set(SECTIONS) | {'verdict', 'viewer', 'scene'} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    for reference in page.references:
        assert not reference.startswith('#') or reference[1:] in page.ids
    for target in re.findall(r'url\(#([^)]*)\)', text):
        assert target in page.ids
    # Best and worst: image, depth, world coordinates and weights of three frames each.
    assert page.pictures == 2 * 3 * 4
    for title in ('Losses', 'Learning rate', 'Held-out frames: median position error'):
        assert f'<figcaption>{title}</figcaption>' in text


def test_the_figures_are_those_of_the_evaluation(text):
    frames = evaluate(KnownLocalizer(ERRORS), samples(6), shown=0).frames
    figures = cells(frames)
    assert figures['frames (lost)'] == '6 (1)'
    table = text[text.index('id="figures"') :]
    for label, value in figures.items():
        assert re.search(rf'<th>{re.escape(label)}</th><td>{re.escape(value)}</td>', table)
    assert 'Median error 6.5 cm' in text
    assert '67 % of 6 held-out frames lie within 25 cm and 10 deg; 1 of them gave no pose' in text
    assert 'AlignmentError: all weights are zero' in text
    assert '<td>77</td>' in text  # the recipe


def test_the_viewer_gets_the_map_as_it_is():
    measured = measure(KnownLocalizer(ERRORS), samples(12), samples(6), 9, lambda s, _: s)
    viewed = json.loads(json.dumps(scene(measured), allow_nan=False))
    layout = np.dtype([('position', '<u2', 3), ('weight', '<u2'), ('colour', 'u1', 3), ('', 'u1')])
    points = np.frombuffer(base64.b64decode(viewed['points']), layout)
    assert len(points) == viewed['count'] == len(measured.cloud)
    low, high = np.array(viewed['low']), np.array(viewed['high'])
    positions = low + points['position'] / 65535 * (high - low)
    np.testing.assert_allclose(positions, measured.cloud.positions, atol=1e-3)
    np.testing.assert_allclose(points['weight'] / 65535, measured.cloud.weights, atol=1e-4)
    np.testing.assert_array_equal(points['colour'], measured.cloud.colours)
    # These cameras stand upright in a world whose z points up.
    np.testing.assert_allclose(viewed['up'], (0, 0, 1), atol=1e-6)
    assert [frame['cm'] for frame in viewed['frames']] == [1.0, 2.0, None, 40.0, 10.0, 3.0]


def test_a_far_point_does_not_shrink_the_scene():
    measured = measure(KnownLocalizer([0.1]), samples(12), samples(3), 9, lambda s, _: s)
    measured.cloud.positions[0] = 9e5
    viewed = scene(measured)
    assert viewed['left_out'] == 1
    assert viewed['radius'] < 10


def test_a_report_can_be_made_when_every_frame_is_lost(tmp_path, monkeypatch):
    text = write(monkeypatch, tmp_path / 'page.html', [None])
    assert Page(text).pictures == 0
    assert '1 of them gave no pose' in text
    assert 'No frame was localized' in text
    assert 'There is no log' in text


def test_names_cannot_break_the_page(tmp_path, monkeypatch):
    text = write(monkeypatch, tmp_path / 'page.html', [0.1], dataset='</script><b>{{ 1 }}&')
    assert '<b>' not in text
    assert '&lt;/script&gt;&lt;b&gt;{{ 1 }}&amp;' in text
    Page(text)


def test_without_held_out_frames_the_page_says_so(tmp_path, monkeypatch):
    text = write(monkeypatch, tmp_path / 'page.html', [0.1], held_out=[])
    assert 'No frame was held out' in text


def test_the_worst_frames_are_not_neighbours():
    errors = [0.01 * index for index in range(40)]
    found = measure(KnownLocalizer(errors), samples(12), samples(40), 99, lambda s, _: s).held_out
    stamps = [frame.sample.timestamp for frame in found.worst]
    assert len(stamps) == 3
    assert stamps[0] == 3.9
    assert np.diff(sorted(stamps)).min() >= 0.05 * 3.9


def test_the_command_reports_on_any_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Localizer, 'load', lambda *_, **__: KnownLocalizer([0.1]))
    monkeypatch.setattr(datasets, 'open_dataset', lambda *_: samples(12))
    words = ['report', 'map.safetensors', '--data', 'room', '--frames', '5']
    assert cli.main([*words, '--output', str(tmp_path / 'new' / 'page.html')]) == 0
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['page.html']
    assert 'Measured on 4 of 12 held-out frames' in (tmp_path / 'new' / 'page.html').read_text()
    assert cli.main([*words, '--output', str(tmp_path)]) == 1
    assert 'it is a folder' in capsys.readouterr().err
    assert command.__doc__


def test_a_missing_checkpoint_ends_in_one_line(tmp_path, capsys):
    missing = str(tmp_path / 'none.safetensors')
    assert cli.main(['report', missing, '--data', 'demo-room']) == 1
    assert 'does not exist' in capsys.readouterr().err
    assert list(Path(tmp_path).iterdir()) == []
