"""The maps in models/ are good where they claim to be."""

from pathlib import Path

import pytest

from implicit_loc.localizer import Localizer
from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.evaluation.frames import FrameResult, summary
from implicit_loc_trainer.evaluation.running import evaluate

ROOT = Path(__file__).resolve().parents[3]
REDKITCHEN = ROOT.parent / 'shared' / 'data' / 'redkitchen'


def _every(step: int, checkpoint: str, data: str | Path) -> list[FrameResult]:
    localizer = Localizer.load(ROOT / 'models' / checkpoint, device='cpu', runtime='eager')
    return evaluate(localizer, open_dataset(data, 'test')[::step], shown=0).frames


def test_the_demo_room_is_known() -> None:
    """By its landmarks: without them it is 9 cm and 1.7 degrees."""
    figures = summary(_every(20, 'demo_room.safetensors', 'demo-room'))
    assert figures.gross_failures == 0
    assert figures.median_translation_m < 0.04
    assert figures.median_rotation_deg < 0.6


@pytest.mark.skipif(not REDKITCHEN.is_dir(), reason=f'the recording {REDKITCHEN} is not there')
def test_redkitchen_is_known() -> None:
    """By its landmarks, and surely: without them it is 6 cm and 1.5 degrees."""
    frames = _every(10, 'redkitchen.safetensors', REDKITCHEN)
    figures = summary(frames)
    assert figures.gross_failures == 0
    assert figures.median_translation_m < 0.02
    assert figures.median_rotation_deg < 0.6
    assert all(frame.confidence is not None and frame.confidence >= 0.5 for frame in frames)
