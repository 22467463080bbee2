"""Images that must not be localized, and spoiled ones."""

from functools import partial

import numpy as np
import pytest
from known_localizer import CAMERA, samples

from implicit_loc.camera import Camera
from implicit_loc_trainer import foreign_images
from implicit_loc_trainer.datasets.sample import Sample
from implicit_loc_trainer.foreign_images import foreign_kinds

FISHEYE = Camera(
    101, 64, 40.0, 40.0, 50.0, 31.5, distortion_model='equidistant',
    distortion=(0.05, -0.01, 0.002, 0.0),
)  # fmt: skip


def picture(seed=0, camera=CAMERA):
    return np.random.default_rng(seed).integers(0, 256, (camera.height, camera.width, 3), np.uint8)


SPOILED = {
    'blurred a little': partial(foreign_images.blurred, share=0.01),
    'blurred': partial(foreign_images.blurred, share=0.5),
    'dark': partial(foreign_images.brightened, factor=0.2),
    'bright': partial(foreign_images.brightened, factor=4.0),
    'noisy': partial(foreign_images.noisy, deviation=30.0, seed=3),
    'hidden': partial(foreign_images.occluded, share=0.4, seed=3),
    'zoomed': partial(foreign_images.zoomed, factor=1.5),
    'zoomed out': partial(foreign_images.zoomed, factor=0.7),
    'upside down': foreign_images.upside_down,
    'blank': partial(foreign_images.blank, seed=0),
}


@pytest.mark.parametrize('data', ['demo-room', '/recordings/kitchen'])
@pytest.mark.parametrize('camera', [CAMERA, FISHEYE])
def test_every_kind_fits_the_camera_and_is_the_same_each_time(data, camera):
    sample = Sample('0', camera, np.eye(4), 0.0, lambda: picture(camera=camera))
    kinds = foreign_kinds(data)
    assert set(kinds) == {'another place', 'noise', 'blank', 'heavily blurred', 'upside down'}
    for make in kinds.values():
        for seed in (0, 1, 2):
            image = make(sample, seed)
            assert image.shape == (camera.height, camera.width, 3)
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, make(sample, seed))


@pytest.mark.parametrize('kind', ['another place', 'noise', 'blank'])
@pytest.mark.parametrize('data', ['demo-room', '/recordings/kitchen'])
def test_seeds_make_different_images(kind, data):
    make = foreign_kinds(data)[kind]
    first, second = (make(samples(2)[1], seed).astype(int) for seed in (0, 1))
    assert np.abs(first - second).max() > 0


@pytest.mark.parametrize('spoil', SPOILED.values(), ids=SPOILED.keys())
def test_spoiling_leaves_the_original_alone_and_changes_the_copy(spoil):
    image = picture()
    before = image.copy()
    spoiled = spoil(image)
    np.testing.assert_array_equal(image, before)
    assert spoiled.shape == image.shape
    assert spoiled.dtype == np.uint8
    assert (spoiled != image).any()
    np.testing.assert_array_equal(spoiled, spoil(image))


@pytest.mark.parametrize('share', [0.0, 0.05, 0.5, 0.95, 1.0])
def test_so_much_is_hidden(share):
    for seed in range(5):
        hidden = foreign_images.occluded(picture(), share, seed)
        assert np.mean((hidden != picture()).any(axis=-1)) == pytest.approx(share, abs=0.03)


def test_blur_leaves_the_mean_and_takes_the_detail():
    image = picture()
    spreads = [foreign_images.blurred(image, share).std() for share in (0.01, 0.03, 0.1, 0.3)]
    assert spreads == sorted(spreads, reverse=True)
    assert foreign_images.blurred(image, 0.1).mean() == pytest.approx(image.mean(), abs=2.0)


def test_turned_twice_is_as_before():
    turned = foreign_images.upside_down(foreign_images.upside_down(picture()))
    np.testing.assert_array_equal(turned, picture())


def test_a_zoom_of_one_changes_nothing():
    np.testing.assert_array_equal(foreign_images.zoomed(picture(), 1.0), picture())
