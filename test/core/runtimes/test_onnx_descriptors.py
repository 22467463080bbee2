"""What is exported in another order of operations is the same function."""

import numpy as np
import pytest
import torch

from implicit_loc import preprocessing
from implicit_loc.landmark_map import LandmarkMap
from implicit_loc.runtimes import onnx_export_program
from implicit_loc.runtimes.onnx_descriptors import ConvolvedDescriptors

CHANNELS = (24, 40)


def _landmarks() -> LandmarkMap:
    """Of features that are neither centred nor of unit deviation."""
    generator = torch.Generator().manual_seed(0)
    landmarks = LandmarkMap(5, CHANNELS)
    landmarks.mean.copy_(3 * torch.randn(sum(CHANNELS), generator=generator))
    landmarks.deviation.copy_(0.1 + torch.rand(sum(CHANNELS), generator=generator))
    landmarks.positions.copy_(torch.randn(5, 3, generator=generator))
    return landmarks


@pytest.mark.parametrize(('rows', 'columns'), [(12, 16), (11, 15), (1, 1)])
def test_descriptors_of_the_export_are_those_of_the_map(rows: int, columns: int) -> None:
    """Also where the coarse stride is more than half of the fine one."""
    generator = torch.Generator().manual_seed(1)
    fine = torch.randn(1, CHANNELS[0], rows, columns, generator=generator)
    coarse = torch.randn(1, CHANNELS[1], -(-rows // 2), -(-columns // 2), generator=generator)
    landmarks = _landmarks()
    with torch.inference_mode():
        expected = landmarks([fine, coarse])
        found = ConvolvedDescriptors(landmarks)([fine, coarse])
    assert found.shape == (1, rows, columns, sum(CHANNELS))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_features_without_length_have_descriptors_of_zeros() -> None:
    """As in the map, and nothing that is not finite."""
    landmarks = _landmarks()
    landmarks.mean.zero_()
    features = [torch.zeros(1, channels, 2, 2) for channels in CHANNELS]
    with torch.inference_mode():
        found = ConvolvedDescriptors(landmarks)(features)
    np.testing.assert_array_equal(found, landmarks(features))
    assert not found.any()


def test_the_landmarks_stay_those_of_the_map() -> None:
    """Whatever else of them an export may need."""
    landmarks = _landmarks()
    found = dict(ConvolvedDescriptors(landmarks).named_buffers())
    for name, tensor in landmarks.named_buffers():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_pixels_are_normalised_as_in_training() -> None:
    """Every value of every channel, to float32."""
    levels = torch.arange(256, dtype=torch.uint8)
    image = torch.stack([levels, levels.flip(0), levels.roll(100)], dim=-1).view(16, 16, 3)
    expected = preprocessing.normalise(image.permute(2, 0, 1)[None])
    found = onnx_export_program.network_input(image)
    np.testing.assert_allclose(found, expected, atol=1e-6)
