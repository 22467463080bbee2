"""The maps in models/ are good where they claim to be."""

from pathlib import Path

import pytest

from implicit_loc.localizer import Localizer
from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.evaluation.running import evaluate

ROOT = Path(__file__).resolve().parents[3]
REDKITCHEN = ROOT.parent / 'shared' / 'data' / 'redkitchen'


def _every(step: int, checkpoint: str, data: str | Path) -> ErrorSummary:
    localizer = Localizer.load(ROOT / 'models' / checkpoint, device='cpu', runtime='eager')
    return summary(evaluate(localizer, open_dataset(data, 'test')[::step], shown=0).frames)


def test_the_demo_room_is_known() -> None:
    figures = _every(20, 'demo_room.safetensors', 'demo-room')
    assert figures.lost == 0
    assert figures.median_translation_m < 0.13
    assert figures.median_rotation_deg < 2.5


@pytest.mark.skipif(not REDKITCHEN.is_dir(), reason=f'the recording {REDKITCHEN} is not there')
def test_redkitchen_is_known() -> None:
    figures = _every(10, 'redkitchen.safetensors', REDKITCHEN)
    assert figures.lost == 0
    assert figures.median_translation_m < 0.12
    assert figures.median_rotation_deg < 4.5
