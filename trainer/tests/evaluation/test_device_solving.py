"""Real images: what a device finds with the shipped map is what the host finds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from implicit_loc import uncertainty
from implicit_loc.device_solving import DeviceSolver, Outcome, outcome
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.preprocessing import input_camera
from implicit_loc_trainer.datasets import open_dataset

ROOT = Path(__file__).resolve().parents[3]
REDKITCHEN = ROOT.parent / 'shared' / 'data' / 'redkitchen'


def _solved(solver: DeviceSolver, host: PoseEstimate) -> Outcome:
    """From the same prediction."""
    geometry = host.geometry.map(lambda array: torch.from_numpy(array)[None])
    with torch.inference_mode():
        packed, shapes = outcome.pack(solver(geometry))
    return Outcome(outcome.unpack(packed.numpy(), shapes), host.camera.focal_length)


@pytest.mark.skipif(not REDKITCHEN.is_dir(), reason=f'the recording {REDKITCHEN} is not there')
@pytest.mark.parametrize('has_landmarks', [True, False])
def test_the_device_finds_the_poses_of_the_host(has_landmarks: bool) -> None:
    """Of a dozen frames nearly all, to a micrometre, with the same confidence."""
    localizer = Localizer.load(ROOT / 'models' / 'redkitchen.safetensors', 'cpu', runtime='eager')
    if not has_landmarks:
        localizer.landmarks = None
    samples = open_dataset(REDKITCHEN, 'test')[::17]
    stride = localizer.description.network.stride
    camera = input_camera(samples[0].camera, localizer.description.input_height)
    solver = DeviceSolver(camera, stride, localizer.landmarks)
    decided = 0
    for sample in samples:
        host = localizer.localize(sample.load_image(), sample.camera)
        found = _solved(solver, host)
        if not found.is_decided:
            continue
        decided += 1
        facts = found.facts()
        np.testing.assert_allclose(
            facts.world_from_camera, host.world_from_camera, rtol=0, atol=1e-6
        )
        assessment = uncertainty.conclude(facts, localizer.description)
        np.testing.assert_allclose(assessment.covariance, host.covariance, rtol=1e-2, atol=1e-9)
        assert assessment.confidence == pytest.approx(host.confidence, abs=1e-6)
    assert len(samples) == 12
    assert decided >= 10
