"""Images on their way into the network."""

import warnings

import numpy as np
import pytest
import torch

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.errors import ImageError

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (np.zeros((48, 64, 3), np.float32), 'float32'),
        (np.zeros((48, 64), np.uint8), 'shape'),
        (np.zeros((48, 64, 4), np.uint8), 'shape'),
        (np.zeros((0, 64, 3), np.uint8), 'shape'),
        (np.zeros((64, 48, 3), np.uint8), '48x64 pixels, its camera 64x48'),
        ([[0, 0, 0]], 'list'),
    ],
)
def test_what_is_no_image_of_the_camera_is_refused(image: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        preprocessing.check_image(image, CAMERA)  # type: ignore[arg-type]


def test_normalised_values_are_centred() -> None:
    """ImageNet's mean colour becomes zero, channels stay apart."""
    colour = np.round(np.array(preprocessing.MEAN) * 255).astype(np.uint8)
    image = np.broadcast_to(colour, (8, 8, 3)).copy()
    values = preprocessing.normalise(preprocessing.to_tensor(image)[None])
    assert values.shape == (1, 3, 8, 8)
    assert values.dtype == torch.float32
    assert values.abs().max() < 0.01


@pytest.mark.parametrize('kind', [torch.uint8, torch.float32])
def test_normalising_is_the_formula_to_the_last_bit_and_leaves_its_input(
    kind: torch.dtype,
) -> None:
    """Checkpoints were trained with exactly these values."""
    images = torch.arange(256, dtype=kind).repeat(2, 3, 4, 1).to(memory_format=torch.channels_last)
    before = images.clone()
    mean = torch.tensor(preprocessing.MEAN)[:, None, None]
    deviation = torch.tensor(preprocessing.STANDARD_DEVIATION)[:, None, None]
    expected = (images.float() / 255.0 - mean) / deviation
    known = preprocessing.statistics(torch.device('cpu'))
    for found in (preprocessing.normalise(images), preprocessing.normalise(images, known)):
        assert torch.equal(found, expected)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)


def test_resizing_averages_instead_of_aliasing() -> None:
    """A fine checkerboard becomes grey."""
    board = (np.indices((96, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = preprocessing.resize(np.repeat(board[..., None], 3, axis=2), 32, 24)
    assert small.shape == (24, 32, 3)
    assert np.abs(small.astype(int) - 127).max() <= 1


def test_an_image_of_the_right_size_is_not_copied() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    assert preprocessing.resize(image, 64, 48) is image


def test_the_input_camera_keeps_the_field_of_view() -> None:
    resized = preprocessing.input_camera(CAMERA, 24)
    assert (resized.width, resized.height) == (32, 24)
    assert resized.width / resized.fx == pytest.approx(CAMERA.width / CAMERA.fx)


def test_images_that_are_views_are_accepted() -> None:
    """A flipped or sliced array has unusual strides; the network sees the same pixels."""
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    flipped = image[:, ::-1]
    tensor = preprocessing.to_tensor(flipped)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), flipped)


def test_the_bytes_of_a_message_are_taken_without_a_warning() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = preprocessing.to_tensor(image)
    np.testing.assert_array_equal(found.permute(1, 2, 0), image)
