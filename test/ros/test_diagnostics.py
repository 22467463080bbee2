"""Levels and messages on /diagnostics."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from diagnostic_msgs.msg import DiagnosticStatus

from implicit_loc_ros import counting
from implicit_loc_ros.counting import Statistics, Trust
from implicit_loc_ros.diagnostics import Inputs, status_of
from implicit_loc_ros.pose_gate import Tracking

INPUTS = Inputs(
    image_topic='/camera/image',
    image_publishers=1,
    image_reliable=False,
    camera_info_topic='/camera/camera_info',
    has_camera_info=True,
    device='cpu',
    tracking=Tracking.TRACKING,
)


TRUST = Trust(confidence=0.9, deviation_m=0.02, deviation_rad=0.01)


def report(statistics: Statistics, inputs: Inputs) -> DiagnosticStatus:
    return status_of('node', statistics.summary(), inputs)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(counting.time, 'monotonic', lambda: clock.now)
    return clock


def play(
    statistics: Statistics, clock: SimpleNamespace, stamps: list[float], speed: float = 1.0
) -> None:
    """Let images arrive that were taken at these seconds."""
    start = clock.now
    for stamp in stamps:
        clock.now = start + (stamp - stamps[0]) / speed
        statistics.image_received(round(stamp * 1e9))
        statistics.answered(TRUST, {'network': 0.01}, 0.02)


def value(status: DiagnosticStatus, key: str) -> str:
    return next(str(item.value) for item in status.values if item.key == key)


def test_all_is_well_at_the_rate_of_the_camera(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [i / 10 for i in range(60)])
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.OK
    assert float(value(status, 'input rate (Hz)')) == pytest.approx(10, abs=0.5)
    assert float(value(status, 'camera rate (Hz)')) == pytest.approx(10, abs=0.5)


def test_lost_images_are_noticed_by_the_gaps_of_their_stamps(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    kept = [i / 30 for i in range(180) if i % 6 in (0, 1)]
    play(statistics, clock, kept)
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.WARN
    assert 'fastdds_large_images.xml' in status.message


def test_lost_images_are_noticed_by_their_camera_infos(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    # Few of 150 get through, at no two neighbours: their own gaps hide the camera's rate.
    play(statistics, clock, [i / 30 for i in (0, 24, 46, 80, 108, 145)])
    for _ in range(150):
        statistics.camera_info_received()
    assert report(statistics, INPUTS).level == DiagnosticStatus.WARN


@pytest.mark.parametrize('taken', [range(0, 150, 30), [0, 4, 8, 13, 17, 21, 26, 30], range(60)])
def test_throttled_images_beside_all_camera_infos_are_no_loss(
    clock: SimpleNamespace, taken: list[int]
) -> None:
    statistics = Statistics()
    play(statistics, clock, [i / 30 for i in taken])
    for _ in range(max(taken) + 1):
        statistics.camera_info_received()
    assert report(statistics, INPUTS).level == DiagnosticStatus.OK


def test_a_bag_in_slow_motion_is_no_loss(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [i / 10 for i in range(20)], speed=0.2)
    assert report(statistics, INPUTS).level == DiagnosticStatus.OK


def test_silence_is_a_warning_that_names_the_topic(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    assert report(statistics, INPUTS).level == DiagnosticStatus.OK
    clock.now += 10
    status = report(statistics, replace(INPUTS, image_publishers=0))
    assert status.level == DiagnosticStatus.WARN
    assert '/camera/image (0 publishers)' in status.message


def test_large_images_that_never_arrive_are_told_from_a_wrong_topic(
    clock: SimpleNamespace,
) -> None:
    statistics = Statistics()
    clock.now += 10
    for _ in range(50):
        statistics.camera_info_received()
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.WARN
    assert 'fastdds_large_images.xml' in status.message
    without_publisher = report(statistics, replace(INPUTS, image_publishers=0))
    assert 'check the remapping' in without_publisher.message


def test_images_without_camera_info_are_a_warning(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    statistics.image_received(1)
    status = report(statistics, replace(INPUTS, has_camera_info=False))
    assert status.level == DiagnosticStatus.WARN
    assert '/camera/camera_info' in status.message


def test_refused_images_warn_and_nothing_but_refused_ones_is_an_error(
    clock: SimpleNamespace,
) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    statistics.refused('image', 'too dark')
    status = report(statistics, INPUTS)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, 'TRACKING: too dark')
    statistics.refused('image', 'too dark')
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.ERROR
    assert value(status, 'refused: image') == '2'
    assert report(statistics, INPUTS).level == DiagnosticStatus.OK


def test_a_defect_is_an_error_even_beside_good_poses(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    statistics.refused('defect', 'RuntimeError: CUDA error')
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.ERROR
    assert 'CUDA error' in status.message


def test_the_state_is_a_value_and_begins_the_message(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    status = report(statistics, replace(INPUTS, tracking=Tracking.WAITING))
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'WAITING')
    play(statistics, clock, [0.0, 0.1])
    status = report(statistics, INPUTS)
    assert (status.level, status.message) == (DiagnosticStatus.OK, 'TRACKING')
    assert value(status, 'state') == 'TRACKING'


def test_lost_is_an_error_with_the_last_reason(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    report(statistics, INPUTS)
    statistics.refused('confidence', 'the confidence 0.100 is below min_confidence 0.500')
    lost = replace(INPUTS, tracking=Tracking.LOST)
    for _ in range(2):
        status = report(statistics, lost)
        assert status.level == DiagnosticStatus.ERROR
        assert status.message.startswith('LOST: no pose is accepted: the confidence 0.100 is')
        assert value(status, 'state') == 'LOST'


@pytest.mark.parametrize('before', list(Tracking))
def test_without_images_the_node_is_waiting(clock: SimpleNamespace, before: Tracking) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    clock.now += 10
    status = report(statistics, replace(INPUTS, tracking=before))
    assert status.message.startswith('WAITING: no image on')


def test_images_that_are_never_looked_at_are_no_tracking(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    report(statistics, INPUTS)
    for _ in range(100):
        clock.now += 0.1
        statistics.image_received(0)
        statistics.refused('no stamp', 'its stamp is 0')
    status = report(statistics, INPUTS)
    assert value(status, 'state') == 'WAITING'
    assert status.level == DiagnosticStatus.ERROR


def test_skipped_images_are_no_fault(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    for reason in ('max_rate', 'max_rate', 'on demand'):
        statistics.skipped(reason)
    status = report(statistics, INPUTS)
    assert status.level == DiagnosticStatus.OK
    assert (value(status, 'images skipped'), value(status, 'skipped: max_rate')) == ('3', '2')


def test_a_paused_node_says_so_and_is_well(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    statistics.refused('stale', 'the map or the time has changed meanwhile')
    report(statistics, INPUTS)
    status = report(statistics, replace(INPUTS, enabled=False))
    assert (status.level, status.message) == (
        DiagnosticStatus.OK,
        'PAUSED: call ~/enable with true',
    )


def test_on_demand_the_node_says_whom_it_waits_for(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    statistics.image_received(1)
    status = report(statistics, replace(INPUTS, on_demand=True, tracking=Tracking.WAITING))
    assert (status.level, status.message) == (
        DiagnosticStatus.OK,
        'WAITING: call ~/localize_once',
    )


@pytest.mark.parametrize(
    ('age_s', 'level', 'words'),
    [
        (0.02, DiagnosticStatus.OK, 'TRACKING'),
        (-0.05, DiagnosticStatus.OK, 'TRACKING'),
        (3.0, DiagnosticStatus.WARN, '3.0 s old when published: set use_sim_time for a bag'),
        (-1e6, DiagnosticStatus.WARN, 'ahead of the clock'),
    ],
)
def test_clocks_that_differ_are_named(
    clock: SimpleNamespace, age_s: float, level: bytes, words: str
) -> None:
    statistics = Statistics()
    statistics.image_received(1)
    statistics.answered(TRUST, {}, age_s)
    status = report(statistics, INPUTS)
    assert status.level == level
    assert words in status.message


def test_a_refused_map_is_a_warning_with_its_reason(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    status = report(statistics, replace(INPUTS, map_change='refused: it is truncated'))
    assert status.level == DiagnosticStatus.WARN
    assert 'the old map is kept, the new one refused: it is truncated' in status.message


@pytest.mark.parametrize('on_demand', [False, True])
def test_a_camera_that_dies_is_noticed_within_seconds(
    clock: SimpleNamespace, on_demand: bool
) -> None:
    inputs = replace(INPUTS, on_demand=on_demand)
    statistics = Statistics()
    play(statistics, clock, [i / 30 for i in range(300)])
    assert report(statistics, inputs).message == 'TRACKING'
    clock.now += 3
    status = report(statistics, inputs)
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith('WAITING: no image on /camera/image')


def test_a_runtime_that_gave_way_is_a_warning(clock: SimpleNamespace) -> None:
    statistics = Statistics()
    play(statistics, clock, [0.0, 0.1])
    slow = replace(INPUTS, runtime='eager PyTorch', runtime_note='the GPU has failed')
    status = report(statistics, slow)
    assert (status.level, status.message) == (
        DiagnosticStatus.WARN,
        'TRACKING: the GPU has failed',
    )
    assert value(status, 'runtime') == 'eager PyTorch: the GPU has failed'
    # Nor does it hide what else is wrong.
    statistics.image_received(1)
    statistics.answered(TRUST, {}, 3.0)
    message = report(statistics, slow).message
    assert '3.0 s old' in message
    assert message.endswith('; the GPU has failed')
