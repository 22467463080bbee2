"""Real camera images through the real node: a piece of the redkitchen test sequence as a bag."""

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('bag_player', reason='pip_ros is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')
from replay import child_process, recording, report
from replay.playback import replay

from implicit_loc_trainer.datasets import open_dataset

DATA = child_process.ROOT.parent / 'shared' / 'data' / 'redkitchen'
CHECKPOINT = child_process.ROOT / 'models' / 'redkitchen.safetensors'
# A busy machine has half a second for each image.
RATE_HZ = 2.0
# Every 13th test frame: the piece is short, but spans the whole test sequence.
FRAME_STEP = 13


@pytest.mark.skipif(not DATA.is_dir(), reason=f'the recording {DATA} is not there')
@pytest.mark.skipif(not CHECKPOINT.is_file(), reason=f'{CHECKPOINT} is not there')
def test_node_localizes_real_images_from_a_bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in child_process.transport_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    samples = open_dataset(DATA, 'test')[::FRAME_STEP]
    frames = recording.frames_at(samples, RATE_HZ)
    recording.record(tmp_path / 'bag', samples, frames, '')
    # The figures are those of all frames, however doubtful.
    parameters = {'checkpoint': str(CHECKPOINT), 'device': 'cpu', 'min_confidence': 0.0}
    # A fresh clone has no export yet.
    parameters['runtime'] = 'eager'
    arrivals = replay(tmp_path / 'bag', frames, parameters, tmp_path)
    results = report.results(arrivals, frames)
    refused = report.refusals(arrivals)
    figures = report.figures(results, report.transforms_received(arrivals, frames), refused)
    assert figures.frames_played == len(samples)
    assert figures.refused == {}
    assert figures.poses_received >= 0.9 * len(samples)
    assert figures.tf_received == figures.poses_received
    # Twice the figures of docs/benchmarks.md; the nearest training image is at 70 cm and 20 deg.
    assert figures.median_translation_m < 0.32
    assert figures.median_rotation_deg < 10.0
