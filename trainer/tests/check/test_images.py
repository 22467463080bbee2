"""Images that are repeated, blurred, dark, unreadable or empty, and recordings of few frames."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from check_scene import CAMERA, check_images, codes, flight, message, rendered, sample, samples
from numpy.typing import NDArray

from implicit_loc_trainer.check.checking import check
from implicit_loc_trainer.check.matching import match
from implicit_loc_trainer.check.recording import Recording, spread_frames
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.local_features import LocalFeatures

Image = NDArray[np.uint8]


def spoilt(index: int, image: Image) -> Image:
    if index in (8, 30):
        return rendered(index - 1)[0]
    if index in (15, 40):
        # A hand that shook: seven pixels along a line.
        kernel = np.eye(7, dtype=np.float32) / 7.0
        return np.asarray(cv2.filter2D(image, -1, kernel), dtype=np.uint8)
    if index == 20:
        return np.zeros_like(image)
    if index == 25:
        return np.full_like(image, 255)
    if index == 35:
        raise DataError('image 35 is truncated')
    return image


def test_bad_images_are_listed() -> None:
    report = check_images(spoilt)
    found = {finding.code: finding for finding in report.findings}
    assert found['duplicates'].values['frames'] == ['0008', '0030']
    assert found['blur'].values['frames'] == ['0015', '0020', '0025', '0040'] or (
        found['blur'].values['frames'] == ['0015', '0040']
    )
    assert found['exposure'].values == {'black': ['0020'], 'white': ['0025']}
    assert found['unreadable-images'].values['frames'] == ['0035']
    assert 'image 35 is truncated' in found['unreadable-images'].message
    grades = codes(report)
    assert [grades[code] for code in ('duplicates', 'blur', 'exposure')] == ['WARN'] * 3
    assert grades['unreadable-images'] == 'ERROR'
    assert grades['labels-fit'] == 'OK'


def flat(index: int, image: Image) -> Image:
    return np.full_like(image, 100 + index)


def noise(index: int, image: Image) -> Image:
    generator = np.random.default_rng(index)
    coarse = generator.integers(0, 255, (45, 60, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (CAMERA.width, CAMERA.height)), dtype=np.uint8)


def unreadable(index: int, image: Image) -> Image:
    raise DataError(f'image {index} is damaged')


@pytest.mark.parametrize(
    ('change', 'code'),
    [(flat, 'no-texture'), (noise, 'no-overlap'), (unreadable, 'no-images')],
)
def test_images_without_matches_give_a_finding(change, code: str) -> None:  # type: ignore[no-untyped-def]
    report = check_images(change)
    assert codes(report)[code] == 'ERROR'
    assert not report.is_fit


@pytest.mark.parametrize('count', [1, 2, 4])
def test_few_frames_give_a_finding(count: int) -> None:
    report = check(Recording.of({'train': samples()[:count]}))
    assert codes(report)['too-few-frames'] == 'ERROR'
    assert f'{count} frames' in message(report, 'too-few-frames')


def test_equal_poses_and_images_give_findings() -> None:
    frames = [replace(sample(0, flight()[0]), name=f'{k}', timestamp=k / 10) for k in range(8)]
    report = check(Recording.of({'train': frames}))
    assert not report.is_fit
    assert codes(report)['duplicates'] == 'WARN'
    assert codes(report)['coverage'] == 'ERROR'


def test_stamps_that_are_equal_are_no_sequence() -> None:
    frames = [replace(one, timestamp=0.0) for one in samples()[:12]]
    report = check(Recording.of({'train': frames}))
    assert report.labels is not None
    assert report.labels.offset is None
    assert codes(report)['labels-fit'] == 'OK'


def test_frames_are_spread_without_a_stride() -> None:
    frames = spread_frames(550, 275)
    assert 0.3 < np.mean(np.array(frames) % 2) < 0.7
    assert (np.diff(frames) > 0).all()
    assert max(np.diff(frames)) <= 4
    assert spread_frames(5, 10) == [0, 1, 2, 3, 4]


def test_degenerate_correspondences_are_no_match() -> None:
    descriptors = np.eye(40, 128, dtype=np.float32)
    for pixels in (np.zeros((40, 2)), np.stack([np.arange(40.0), np.arange(40.0)], axis=1)):
        features = LocalFeatures(pixels, descriptors)
        found = match((0, 1), (features, features), (CAMERA, CAMERA))
        assert found is None or np.isfinite(found.floor_px)
    empty = LocalFeatures(np.empty((0, 2)), np.empty((0, 128), np.float32))
    assert match((0, 1), (empty, empty), (CAMERA, CAMERA)) is None
