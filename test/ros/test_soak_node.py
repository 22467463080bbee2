"""The soak of the node: it judges strictly, and the real node stands a short one."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('bag_player', reason='pip_ros is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')

from replay.child_process import transport_environment
from soak import command
from soak.faults import FAULTS
from soak.judging import (
    LONGEST_S,
    Answer,
    Sent,
    maps_of,
    memory_of,
    old_answers,
    wrong_answers,
    wrong_maps,
    wrong_places,
)

# Of a map beside another one.
OFFSETS = [np.zeros(3), np.array([1000.0, 0.0, 0.0])]


@pytest.fixture(autouse=True)
def transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the command sets, gone after the test."""
    for name, value in transport_environment().items():
        monkeypatch.setenv(name, value)


def images(count: int, forbidden: Iterable[int] = ()) -> dict[int, Sent]:
    """Ten a second; their stamps are their numbers times 100, and they walk along x."""
    return {
        100 * n: Sent(n, n / 10, np.array([n / 10, 0.0, 0.0]), 'covered' * (n in forbidden))
        for n in range(count)
    }


def pose(number: int, latency_s: float = 0.05, offset: np.ndarray = OFFSETS[0]) -> Answer:
    position = np.array([number / 10, 0.0, 0.0]) + offset
    return Answer(100 * number, number / 10 + latency_s, position)


def test_good_poses_pass() -> None:
    sent, answers = images(10, forbidden=[3]), [pose(n) for n in (0, 1, 2, 5, 9)]
    assert not list(wrong_answers(sent, answers))
    assert not list(old_answers(sent, answers, [], LONGEST_S))
    assert not list(wrong_places(sent, answers))


@pytest.mark.parametrize(
    ('answers', 'what'),
    [
        ([Answer(101, 1.0, np.zeros(3))], 'the stamp 101, which no image had'),
        ([pose(3)], 'image 3 was published, though there was none to publish: covered'),
        ([pose(5), pose(4)], 'image 4 came after that of image 5'),
        ([pose(5), pose(5)], 'image 5 came after that of image 5'),
    ],
)
def test_a_pose_of_the_wrong_image_is_found(answers: list[Answer], what: str) -> None:
    (found,) = wrong_answers(images(10, forbidden=[3]), answers)
    assert what in found


def test_an_old_pose_is_found_unless_the_process_was_stopped() -> None:
    sent, answers = images(10), [pose(2, latency_s=LONGEST_S + 1.0)]
    (found,) = old_answers(sent, answers, [], LONGEST_S)
    assert 'image 2 came 3.0 s after it' in found
    assert not list(old_answers(sent, answers, [(0.0, 1.3)], LONGEST_S))
    # A stop before the image explains nothing.
    assert list(old_answers(sent, answers, [(-9.0, 0.2)], LONGEST_S))


@pytest.mark.parametrize('off', [1.0, np.nan])
def test_a_pose_far_from_the_truth_is_found(off: float) -> None:
    (found,) = wrong_places(images(3), [pose(0), pose(1, offset=np.array([0.0, off, 0.0]))])
    assert 'image 1' in found


def test_poses_of_a_wrong_map_are_found() -> None:
    sent = images(10)
    good = [pose(n, offset=OFFSETS[n > 4]) for n in range(10)]
    assert maps_of(sent, good, OFFSETS) == [0] * 5 + [1] * 5
    assert not list(wrong_maps(maps_of(sent, good, OFFSETS), 2))
    (back,) = wrong_maps([0, 1, 0, 1], 2)
    assert 'of an old map' in back
    (missing,) = wrong_maps([0, 0], 2)
    assert '1 of 2 maps' in missing
    # The new map's checkpoint in the old one's place.
    mixed = [*good, pose(9, offset=np.array([0.0, 100.0, 0.0]))]
    (mixture,) = wrong_maps(maps_of(sent, mixed, OFFSETS), 2)
    assert 'in none of the maps' in mixture


def test_memory_is_flat_where_only_the_beginning_grows() -> None:
    begin = list(np.linspace(500.0, 1000.0, 60))
    assert memory_of([*begin, *[1000.0] * 240]).is_flat
    assert memory_of(list(np.linspace(500.0, 1000.0, 300))).is_flat is False
    assert memory_of([1.0, 2.0]).is_flat is None


def test_memory_may_grow_while_everything_happens_for_the_first_time() -> None:
    growing, grown = list(np.linspace(500.0, 1000.0, 300)), [1000.0] * 240
    assert memory_of([*growing, *grown]).is_flat is False
    assert memory_of([*growing, *grown], len(growing)).is_flat
    assert memory_of(growing, len(growing) - 10).is_flat is None
    assert memory_of([*grown, *growing], len(grown)).is_flat is False


@pytest.mark.parametrize(
    'words', [('faults', '--only', 'earthquake'), ('swaps', '--count', '0'), ('floods',), ()]
)
def test_arguments_that_mean_nothing_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        command.main(list(words))


def test_a_bad_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--checkpoint', 'none.safetensors', '--output', str(tmp_path)]
    assert command.main(['swaps', *words]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith('soak_node: ')
    assert errors.count('\n') == 1


@pytest.mark.parametrize(
    ('words', 'waits'),
    [
        (['swaps', '--count', '3'], 3),
        # Every fault once, as short as it can be.
        (['faults', '--duration', '1', '--longest', '0.3'], len(FAULTS) + 1),
    ],
    ids=['swaps', 'faults'],
)
def test_the_real_node_stands_it(
    tmp_path: Path, words: list[str], waits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / 'course.json'
    # Whoever runs tests beside it may keep it waiting.
    words += ['--images', '5', '--latest', '14', '--device', 'cpu', '--parameter', 'runtime=eager']
    words += ['--output', str(tmp_path / 'logs'), '--json', str(file)]
    assert command.main(words) == 0, capsys.readouterr().err
    course = json.loads(file.read_text())
    assert not course['failures']
    assert course['poses'] > 10
    assert sum(map(len, course['waits'].values())) >= waits
