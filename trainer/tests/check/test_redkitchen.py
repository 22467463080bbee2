"""The real recording under labels and cameras that others use for it."""

from dataclasses import replace
from functools import lru_cache

import pytest
from check_scene import REDKITCHEN, codes

from implicit_loc.camera import Camera
from implicit_loc_trainer.check.checking import Report, check
from implicit_loc_trainer.check.recording import Recording
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.datasets.parsing import read_tum

pytestmark = pytest.mark.skipif(
    not REDKITCHEN.is_dir(), reason=f'the recording {REDKITCHEN} is not there'
)

# The depth camera's; those who take it for the colour camera's are many.
DEPTH_CAMERA = Camera(640, 480, 585.0, 585.0, 319.5, 239.5)


@lru_cache(maxsize=1)
def splits() -> dict[str, list[Sample]]:
    return {
        'train': open_dataset(REDKITCHEN)[::18],
        'test': open_dataset(REDKITCHEN, 'test')[::14],
    }


@lru_cache(maxsize=1)
def as_given() -> Report:
    return check(Recording.of(splits()))


def check_again(changed: dict[str, list[Sample]]) -> Report:
    """Checks the same images: their features and matches are known already."""
    recording, known = Recording.of(changed), as_given().recording
    recording.facts, recording.features = dict(known.facts), dict(known.features)
    recording.matches = dict(known.matches)
    return check(recording)


def errors(report: Report) -> set[str]:
    return {code for code, grade in codes(report).items() if grade == 'ERROR'}


def test_its_labels_fit_in_both_splits() -> None:
    assert errors(as_given()) == set()
    assert as_given().labels is not None
    assert as_given().labels.given_px == pytest.approx(0.55, abs=0.15)


def test_the_focal_length_of_the_depth_camera_is_named() -> None:
    report = check_again(
        {
            name: [replace(one, camera=DEPTH_CAMERA) for one in few]
            for name, few in splits().items()
        }
    )
    assert errors(report) == {'focal-length'}
    (finding,) = (one for one in report.findings if one.code == 'focal-length')
    assert finding.values['fx'] == pytest.approx(525.5, rel=0.02)


def test_a_test_split_in_the_world_of_another_tracker_is_named() -> None:
    # By the measure of the training frames most pairs of these rough poses contradict.
    numbers, poses = read_tum(REDKITCHEN / 'poses_dslam.txt')
    world_from_camera = dict(zip(numbers.astype(int).tolist(), poses, strict=True))
    other = [
        replace(one, world_from_camera=world_from_camera[int(one.name)])
        for one in splits()['test']
    ]
    report = check_again({'train': splits()['train'], 'test': other})
    assert 'mixed-worlds' in errors(report)
    (finding,) = (one for one in report.findings if one.code == 'mixed-worlds')
    assert 'splits train and test' in finding.message
    assert set(finding.values['smaller']) <= {one.name for one in other}
