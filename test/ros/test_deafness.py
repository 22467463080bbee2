"""What counts as a port that is lost, and when that is a reason to start anew."""

import time

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from implicit_loc_ros import deafness
from implicit_loc_ros.deafness import SHORTEST_LIFE_S, DeafError, DeafnessWatch, lost_ports

MAPPED = '7f11-7f12 rw-s 00000000 00:19 638309    '
LIBRARY = '7f21-7f22 r--p 00000000 fe:00 4711    /usr/lib/libfastrtps.so.2.14\n'
OWN = '/dev/shm/fastrtps_port7013'
FOREIGN = '/dev/shm/fastrtps_port51161'
REMOVED = ' (deleted)\n'
HELD = ['/dev/null', 'socket:[17]', f'{OWN}_el', '/dev/shm/fastrtps_port51165_el']


def test_who_listens_to_a_removed_port_has_lost_it() -> None:
    healthy = f'{LIBRARY}{MAPPED}{OWN}\n{MAPPED}{FOREIGN}\n'
    assert not lost_ports(healthy, HELD)
    lost = f'{LIBRARY}{MAPPED}{OWN}{REMOVED}{MAPPED}{FOREIGN}\n'
    assert lost_ports(lost, HELD) == {'fastrtps_port7013'}
    assert lost_ports(lost, [f'{OWN}_el (deleted)']) == {'fastrtps_port7013'}
    kilted = lost.replace('fastrtps_port', 'fastdds_port')
    held = [file.replace('fastrtps_port', 'fastdds_port') for file in HELD]
    assert lost_ports(kilted, held) == {'fastdds_port7013'}


def test_the_removed_port_of_another_process_is_no_loss() -> None:
    """A writer maps the ports of those that it has written to, and they may be gone."""
    assert not lost_ports(f'{MAPPED}{OWN}\n{MAPPED}{FOREIGN}{REMOVED}', HELD)


def test_a_port_that_was_replaced_is_no_loss() -> None:
    assert not lost_ports(f'{MAPPED}{OWN}{REMOVED}{MAPPED}{OWN}\n', HELD)


class World:
    """A clock that is told what it shows, and ports that are told what they are."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.lost: frozenset[str] = frozenset()
        self.watch = DeafnessWatch()

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float, is_silent: bool = True, may_start_anew: bool = True) -> str:
        """What is said in the end."""
        said = ''
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            said = self.watch.review(is_silent, may_start_anew)
        return said


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(deafness, 'time', world)
    monkeypatch.setattr(deafness, '_BEGUN', world.now)
    monkeypatch.setattr(deafness, '_own_lost_ports', lambda: world.lost)
    world.now += SHORTEST_LIFE_S
    return world


def test_a_port_that_stays_lost_in_silence_is_an_error(world: World) -> None:
    world.pass_by(10)
    world.lost = frozenset({'fastrtps_port7013'})
    world.pass_by(2.8)
    with pytest.raises(DeafError, match='fastrtps_port7013'):
        world.pass_by(3)


def test_who_may_not_start_anew_says_what_is_lost_and_when_it_is_back(world: World) -> None:
    world.lost = frozenset({'fastrtps_port7013'})
    assert not world.pass_by(2.8, may_start_anew=False)
    assert 'fastrtps_port7013' in world.pass_by(10, may_start_anew=False)
    world.lost = frozenset()
    assert not world.pass_by(2, may_start_anew=False)


def test_who_may_start_anew_at_last_does(world: World) -> None:
    world.lost = frozenset({'fastrtps_port7013'})
    world.pass_by(10, may_start_anew=False)
    with pytest.raises(DeafError):
        world.pass_by(2)


def test_a_port_that_is_lost_for_moments_is_none(world: World) -> None:
    for _ in range(5):
        world.lost = frozenset({'fastrtps_port7013'})
        assert not world.pass_by(1.6)
        world.lost = frozenset()
        assert not world.pass_by(1.2)


def test_whoever_hears_images_is_not_deaf(world: World) -> None:
    world.lost = frozenset({'fastrtps_port7013'})
    assert not world.pass_by(10, is_silent=False)


def test_a_process_that_has_just_begun_waits(world: World) -> None:
    """Else a standing cause would start it anew without end."""
    world.now -= SHORTEST_LIFE_S - 1
    world.lost = frozenset({'fastrtps_port7013'})
    world.pass_by(10)
    with pytest.raises(DeafError):
        world.pass_by(SHORTEST_LIFE_S)
