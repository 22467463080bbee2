"""Telling frames of the place from other images."""

import numpy as np
import pytest
from known_localizer import KnownLocalizer, samples

from implicit_loc.errors import AlignmentError
from implicit_loc_trainer.calibration.degraded import looks
from implicit_loc_trainer.evaluation.lost import detect_lost, foreign_images
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.foreign_images import foreign_kinds, noise, upside_down


class Wary(KnownLocalizer):
    """Trusts images of one colour, which those of its place are; refuses very bright ones."""

    def localize(self, image, camera, mask=None):
        if image.mean() > 200:
            raise AlignmentError('too bright')
        estimate = super().localize(image[:1, :1], camera)
        object.__setattr__(estimate, 'confidence', 0.9 if image.std() == 0 else 0.1)
        return estimate


KINDS = {
    'noise': lambda sample, seed: noise(sample.camera, seed),
    'white': lambda sample, _: np.full_like(sample.load_image(), 255),
    'the place itself': lambda sample, _: upside_down(sample.load_image()),
}

# Of the others each is made from a frame of the place, and no two frames are alike.
RANDOM_KINDS = ('another place', 'noise')


@pytest.fixture(scope='module')
def detection():
    localizer, frames = Wary([0.1]), samples(10)
    results = evaluate(localizer, frames)
    return detect_lost(localizer, results.frames, foreign_images(frames, KINDS, 4))


def test_what_the_confidence_tells_apart_and_what_it_does_not(detection):
    figures = detection.as_json(0.5)
    rows = figures['kinds']
    assert rows['noise'] == {'frames': 4, 'auroc': 1.0, 'accepted': 0.0}
    assert rows['white'] == {'frames': 4, 'auroc': 1.0, 'accepted': 0.0}
    assert rows['the place itself'] == {'frames': 4, 'auroc': 0.5, 'accepted': 1.0}
    assert figures['frames'] == 12
    assert figures['auroc'] == pytest.approx((1 + 1 + 0.5) / 3)
    assert figures['accepted'] == pytest.approx(1 / 3)


def test_a_refused_image_is_trusted_less_than_any_pose():
    localizer, frames = Wary([0.1]), samples(2)
    results = evaluate(KnownLocalizer([0.1], confidence=0.0), frames)
    white = {'white': KINDS['white']}
    figures = detect_lost(localizer, results.frames, foreign_images(frames, white, 2)).as_json(0.0)
    assert figures['auroc'] == 1.0
    assert figures['accepted'] == 0.0


def test_lost_frames_of_the_place_count_against_the_localizer():
    localizer, frames = Wary([0.1, None]), samples(2)
    results = evaluate(localizer, frames)
    white = {'white': KINDS['white']}
    found = detect_lost(localizer, results.frames, foreign_images(frames, white, 2))
    assert found.as_json(0.5)['auroc'] == pytest.approx(0.75)


@pytest.mark.parametrize(('count', 'used'), [(1, [0]), (3, [0, 4, 9]), (99, list(range(10)))])
def test_frames_are_spread_and_none_is_used_twice(count, used):
    made = foreign_images(samples(10), {'kind': lambda sample, _: sample.name}, count)
    assert [int(image) for _, _, image in made] == used


@pytest.mark.parametrize('data', ['demo-room', 'elsewhere'])
def test_no_image_drawn_at_random_is_one_that_calibration_has_seen(data):
    """A confidence is not judged by what it was fitted to."""
    frames = samples(8)
    every = foreign_kinds(data)
    fitted = {
        look.image.tobytes()
        for index, sample in enumerate(frames)
        for look in looks(sample, index, data, len(every))
        if look.kind in RANDOM_KINDS
    }
    kinds = {kind: every[kind] for kind in RANDOM_KINDS}
    judged = [image.tobytes() for _, _, image in foreign_images(frames, kinds, len(frames))]
    assert len(fitted) == len(judged) == 2 * len(frames)
    assert fitted.isdisjoint(judged)
