"""A map's landmarks are the most seen ones of every place."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from implicit_loc.camera import Camera
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.landmarks.choosing import ChosenLandmarks

CAMERA = Camera(64, 48, 50.0, 50.0, 31.5, 23.5)


def _frames(seen: Sequence[Sequence[int] | None]) -> list[Sample]:
    """Frames that see landmarks of these numbers; the number is the landmark's x."""

    def nothing() -> np.ndarray:
        raise AssertionError('no image is needed to choose')

    frames = []
    for index, numbers in enumerate(seen):
        points = None if numbers is None else np.array([(n, 1.5, 0) for n in numbers], dtype=float)
        points = points if points is None else points.reshape(-1, 3)
        frames.append(
            Sample(f'frame {index}', CAMERA, np.eye(4), index, nothing, landmarks=points)
        )
    return frames


def _numbers(chosen: ChosenLandmarks) -> list[int]:
    return chosen.points[:, 0].astype(int).tolist()


def test_where_the_camera_stays_long_other_places_keep_their_landmarks() -> None:
    """A hundred frames see ten landmarks, six frames elsewhere see three others."""
    chosen = ChosenLandmarks.of(_frames([range(10)] * 100 + [[20, 21, 22]] * 6), 6)
    assert _numbers(chosen) == [0, 1, 2, 20, 21, 22]


def test_what_fewer_than_four_frames_have_seen_is_no_landmark() -> None:
    chosen = ChosenLandmarks.of(_frames([[1, 2], [2], [2, 1], [1, 2], None, [3], [3], [3]]), 10)
    assert _numbers(chosen) == [2]
    assert [own.tolist() for own in chosen.in_frame] == [[0]] * 4 + [[]] * 4


def test_nothing_gives_nothing() -> None:
    for frames in ([], _frames([None, None]), _frames([[], []])):
        chosen = ChosenLandmarks.of(frames, 5)
        assert chosen.points.shape == (0, 3)
        assert [len(own) for own in chosen.in_frame] == [0] * len(frames)


@given(st.lists(st.sets(st.integers(0, 12)), min_size=1, max_size=12), st.integers(1, 15))
def test_frames_know_which_of_theirs_were_chosen(seen: list[set[int]], most: int) -> None:
    """No more than asked for, the most seen first, each in exactly the frames that see it."""
    chosen = ChosenLandmarks.of(_frames([sorted(numbers) for numbers in seen]), most)
    numbers = _numbers(chosen)
    counts = [sum(number in own for own in seen) for number in range(13)]
    assert len(numbers) == min(most, sum(count >= 4 for count in counts))
    found = [counts[number] for number in numbers]
    assert found == sorted(found, reverse=True)
    for own, frame in zip(chosen.in_frame, seen, strict=True):
        assert sorted(numbers[place] for place in own) == sorted(frame & set(numbers))
