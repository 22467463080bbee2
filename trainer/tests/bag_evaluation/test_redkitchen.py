"""Real images from a bag give the errors that they give as files."""

import json
from pathlib import Path

import pytest
from replay import recording

from implicit_loc.localizer import Localizer
from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.evaluation import pictures
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.running import evaluate

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / 'shared' / 'data' / 'redkitchen'
CHECKPOINT = ROOT / 'models' / 'redkitchen.safetensors'
FRAME_STEP = 25


@pytest.mark.skipif(not DATA.is_dir(), reason=f'the recording {DATA} is not there')
@pytest.mark.skipif(not CHECKPOINT.is_file(), reason=f'{CHECKPOINT} is not there')
def test_a_bag_and_its_frames_have_the_same_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, 'draw', lambda *_: [])
    samples = open_dataset(DATA, 'test')[::FRAME_STEP]
    bag, output = tmp_path / 'bag', tmp_path / 'out'
    recording.record(bag, samples, recording.frames_at(samples, 10.0), '')
    arguments = [str(bag), str(CHECKPOINT), '--output', str(output), '--device', 'cpu']
    arguments += ['--runtime', 'eager', '--require', 'median_translation_m<0.05']
    assert cli.main(['evaluate-bag', *arguments]) == 0
    found = json.loads((output / 'figures.json').read_text())
    localizer = Localizer.load(CHECKPOINT, 'cpu', runtime='eager')
    expected = summary(evaluate(localizer, samples).frames)
    assert found['frames'] == expected.frames == len(samples)
    for name in ('median_translation_m', 'mean_rotation_deg', 'p95_translation_m'):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-3)
