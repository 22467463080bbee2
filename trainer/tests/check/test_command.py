"""The command: exit codes, files, the page, and the real recording."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from check_scene import REDKITCHEN, check_poses, flight, intact, rendered
from matplotlib.figure import Figure
from scipy.spatial.transform import Rotation

from implicit_loc_trainer import cli
from implicit_loc_trainer.check import files, page
from implicit_loc_trainer.datasets.parsing import inverse

CAMERA_YAML = """image_width: 240
image_height: 180
camera_matrix: {rows: 3, cols: 3, data: [197, 0, 119.5, 0, 197, 89.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


def write_tum(folder: Path, poses: np.ndarray, count: int) -> None:
    """The flight as a TUM folder; every frame is for training."""
    folder.mkdir()
    lines, stamps = [], []
    for index in range(count):
        image = cv2.cvtColor(rendered(index)[0], cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f'{index:04d}.png'), image)
        stamps.append(f'{index / 10:.3f} {index:04d}.png\n')
        values = [*poses[index, :3, 3], *Rotation.from_matrix(poses[index, :3, :3]).as_quat()]
        lines.append(f'{index / 10:.3f} ' + ' '.join(f'{value:.9f}' for value in values) + '\n')
    (folder / 'rgb.txt').write_text(''.join(stamps))
    (folder / 'train.txt').write_text(''.join(f'{index:04d}.png\n' for index in range(count)))
    (folder / 'groundtruth.txt').write_text(''.join(lines))
    (folder / 'camera.yaml').write_text(CAMERA_YAML)


def test_a_recording_with_inverted_poses_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tum(tmp_path / 'good', flight(), 20)
    write_tum(tmp_path / 'bad', inverse(flight()), 20)
    assert cli.main(['check', str(tmp_path / 'good')]) == 0
    text = capsys.readouterr().out
    assert 'the labels fit' in text
    assert 'near: ' in text
    output = tmp_path / 'output'
    assert cli.main(['check', str(tmp_path / 'bad'), '--output', str(output)]) == 2
    text = capsys.readouterr().out
    assert 'these poses look world-to-camera' in text
    assert 'invert every pose' in text
    figures = json.loads((output / 'check.json').read_text())
    assert figures['fit'] is False
    assert 'world-to-camera' in {finding['code'] for finding in figures['findings']}
    picture = cv2.imread(str(output / 'check.png'))
    assert picture is not None
    assert picture.shape[0] > 1000


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['nowhere'], 'does not exist'),
        (['demo-room', '--split', 'missing.txt'], 'cannot read'),
        (['demo-room', '--json', '/dev/null/x.json'], 'cannot be written'),
    ],
)
def test_unusable_input_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['check', *arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]


def test_reports_are_the_same_at_every_run() -> None:
    first, second = (files.figures(check_poses(inverse(flight()))) for _ in range(2))
    assert first == second


def test_the_json_holds_the_figures() -> None:
    values = files.figures(intact())
    assert values['fit'] is True
    assert values['network']['near'] < 1.5
    assert values['network']['far'] > 5.0
    codes = [one['code'] for one in values['labels']['hypotheses']]
    assert codes[0] == 'as-given'
    json.dumps(values, allow_nan=False)


def test_the_page_shows_every_panel() -> None:
    figure = page.page(intact(), 'a $name$ of_a recording')
    assert isinstance(figure, Figure)
    assert len(figure.axes) >= 9
    figure.canvas.draw()


@pytest.mark.skipif(not REDKITCHEN.is_dir(), reason=f'the recording {REDKITCHEN} is not there')
def test_the_real_recording_and_its_other_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (REDKITCHEN / 'train.txt').read_text().split()[::18]
    (tmp_path / 'some.txt').write_text('\n'.join(names) + '\n')
    options = ['--split', str(tmp_path / 'some.txt'), '--json', str(tmp_path / 'f.json')]
    assert cli.main(['check', str(REDKITCHEN), *options]) == 0
    labels = json.loads((tmp_path / 'f.json').read_text())['labels']
    assert labels['given_error_px'] == pytest.approx(0.5, abs=0.15)
    dense = (REDKITCHEN / 'train.txt').read_text().split()[:50]
    (tmp_path / 'some.txt').write_text('\n'.join(dense) + '\n')
    mixed = tmp_path / 'mixed'
    mixed.mkdir()
    for name in ('rgb', 'depth', 'train.txt', 'test.txt'):
        (mixed / name).symlink_to(REDKITCHEN / name)
    worlds = [
        (REDKITCHEN / name).read_text().splitlines()[1:]
        for name in ('poses_sfm.txt', 'poses_dslam.txt')
    ]
    lines = [pair[index % 2] for index, pair in enumerate(zip(*worlds, strict=True))]
    (mixed / 'poses_sfm.txt').write_text('\n'.join(lines) + '\n')
    capsys.readouterr()
    assert cli.main(['check', str(mixed), *options]) == 2
    assert 'another world' in capsys.readouterr().out
    shutil.rmtree(mixed)
