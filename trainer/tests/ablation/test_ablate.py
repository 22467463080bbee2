"""A small grid from the command line: tables, failures, resuming."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from implicit_loc_trainer import cli
from implicit_loc_trainer.ablation.results import Results

CAMERA = """image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [50.0, 0.0, 31.5, 0.0, 50.0, 23.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}
"""
GRID = {
    'base': 'base.yaml',
    'budgets': {'short': {'frames': 12, 'test_frames': 2, 'optimizer.epochs': 1}},
    'variants': {
        'all': {},
        'broken': {'network.backbone_weights': '/nowhere.safetensors'},
        'third': {'every': 3},
        'tuned': {'fine_tunes': 'third'},
    },
    'tables': [
        {
            'name': 'scenes',
            'title': 'Scenes',
            'layout': 'scenes',
            'columns': ['Method'],
            'rows': [{'label': [name], 'variant': name} for name in ('all', 'broken', 'tuned')],
        },
        {
            'name': 'times',
            'title': 'Run time',
            'layout': 'run time',
            'columns': ['Method'],
            'rows': [{'label': ['ours'], 'variant': 'all'}],
        },
    ],
}
BASE = {
    'data': {'validation_frames': 0},
    'network': {'input_height': 48, 'decoder_channels': 8},
    'optimizer': {'epochs': 1, 'batch_size': 2},
    # Noise shows none, and looking for them takes its time; so does a report.
    'map': {'landmarks': 0},
    'run': {'device': 'cpu', 'threads': 1, 'report': False},
}


@pytest.fixture(scope='module')
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of noise with poses along a line, in TUM style."""
    folder = tmp_path_factory.mktemp('recording')
    (folder / 'rgb').mkdir()
    rng = np.random.default_rng(0)
    images, poses = [], []
    for index in range(20):
        name = f'rgb/{index:02d}.png'
        noise = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), noise)
        images.append(f'{index / 10:.1f} {name}')
        poses.append(f'{index / 10:.1f} {index / 10} 0 0 0 0 0 1')
    (folder / 'rgb.txt').write_text('\n'.join(images))
    (folder / 'groundtruth.txt').write_text('\n'.join(poses))
    (folder / 'camera.yaml').write_text(CAMERA)
    return folder


def test_a_grid_runs_once_and_goes_on_after_failures(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The failure is a row with its reason; the second call trains nothing."""
    (tmp_path / 'base.yaml').write_text(yaml.safe_dump(BASE))
    (tmp_path / 'grid.yaml').write_text(yaml.safe_dump(GRID))
    output = tmp_path / 'out'
    command = ['ablate', str(tmp_path / 'grid.yaml'), '--data', f'Line={recording}']
    command += ['--budget', 'short', '--output', str(output)]
    # Trainings are forked, which a process that has had nodes and other runtimes must not be.
    call = [sys.executable, '-m', 'implicit_loc_trainer', *command]
    assert subprocess.run(call, timeout=240, check=False).returncode == 1
    lines = [json.loads(line) for line in (output / 'results.jsonl').read_text().splitlines()]
    reasons = {line['variant']: line['reason'] for line in lines}
    assert list(reasons) == ['all', 'broken', 'third', 'tuned']
    assert 'nowhere.safetensors' in reasons.pop('broken')
    assert set(reasons.values()) == {''}
    seen = {line['variant']: line['figures'].get('images_seen') for line in lines}
    assert (seen['all'], seen['third'], seen['tuned']) == (12, 4, 8)
    table = (output / 'scenes.csv').read_text().splitlines()
    assert table[0] == 'Method,Line'
    assert table[2] == 'broken,failed'
    assert '/' in table[1]
    times = (output / 'times.csv').read_text().splitlines()[1]
    assert times.startswith('ours,6 x 8,')
    page = (output / 'tables.md').read_text()
    assert '- broken on Line: ' in page
    assert 'Budget of a run: short' in page
    capfd.readouterr()
    before = (output / 'results.jsonl').read_bytes()
    assert cli.main(command) == 1
    assert capfd.readouterr().out.count('has a result') == 4
    assert (output / 'results.jsonl').read_bytes() == before
    tuned = next(line for line in lines if line['variant'] == 'tuned')
    found = Results(output / 'results.jsonl').find('tuned', '', 'Line', tuned['fingerprint'])
    assert found is not None
    assert cli.main([*command, '--only', 'best']) == 1
    assert "no variant 'best'" in capfd.readouterr().err
