"""The measurement of the node: its figures are right, and the real node gives some."""

import json
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('bag_player', reason='pip_ros is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')
import numpy as np
from bench import command
from bench.figures import Figures, changes, figures
from bench.memory import MemoryWatch
from bench.session import Run
from replay.child_process import transport_environment
from replay.collector import Arrival
from replay.playback import POSE_TOPIC

from implicit_loc_trainer.ros_messages import pose_message

SECOND = 1_000_000_000
START = 1000 * SECOND


@pytest.fixture(autouse=True)
def transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the command sets, gone after the test."""
    for name, value in transport_environment().items():
        monkeypatch.setenv(name, value)


def pose(stamp: int, latency_ms: float) -> Arrival:
    arrived = stamp + round(latency_ms * 1e6)
    return Arrival(POSE_TOPIC, arrived, pose_message(stamp, np.eye(4)))


def report(second: float, **counts: Any) -> tuple[int, dict[str, str]]:
    keys = {
        'received': 'images received',
        'overtaken': 'images overtaken by newer ones',
        'refused': 'images refused',
        'skipped': 'images skipped',
        'total_ms': 'total (ms)',
    }
    return START + round(second * SECOND), {keys[name]: str(n) for name, n in counts.items()}


def memory(samples: list[tuple[float, float]]) -> MemoryWatch:
    watch = MemoryWatch(0)
    watch.samples = [(START + round(second * SECOND), mb) for second, mb in samples]
    return watch


def test_figures_are_those_of_this_run():
    """Counters are compared with those before it, latencies with the same second's `localize`."""
    run = Run(
        transport='raw',
        rate_hz=2.0,
        published=6,
        seconds=2.5,
        # In the second second, the machine is slower, and so is the node: it adds as much.
        poses=[
            *(pose(START + n * SECOND // 10, 12.0) for n in range(2)),
            *(pose(START + SECOND + n * SECOND // 10, 32.0) for n in range(2)),
        ],
        reports=[
            report(-0.5, received=100, overtaken=40, refused=3, total_ms=99.0),
            report(0.9, received=103, overtaken=41, refused=3, total_ms=10.0),
            report(1.9, received=106, overtaken=41, refused=4, total_ms=30.0),
            report(2.9, received=106, overtaken=41, refused=4),
        ],
        memory=memory([(0.0, 700.0), (2.0, 710.0)]),
    )
    found = figures(run)
    assert (found.received, found.answered, found.overtaken, found.refused) == (6, 4, 1, 1)
    assert found.published_hz == pytest.approx(2.0)
    assert found.median_ms == pytest.approx(22.0)
    assert found.localize_ms == pytest.approx(20.0)
    assert found.overhead_ms == pytest.approx(2.0)
    assert found.last_mb == 710.0
    # Its memory has not settled after four frames.
    assert found.settled_mb is None
    assert found.grown_mb is None


def test_memory_counts_from_the_five_hundredth_pose():
    poses = [pose(START + n * SECOND // 100, 5.0) for n in range(1000)]
    growing = memory([(second / 10, 700.0 + second) for second in range(100)])
    run = Run('raw', 100.0, 1000, 9.99, poses, [report(-1.0), report(11.0)], growing)
    found = figures(run)
    assert found.settled_mb == pytest.approx(750.0)
    assert found.grown_mb == pytest.approx(49.0)


def test_a_run_without_any_pose_has_figures_too():
    run = Run('raw', 1.0, 1, 0.0, [], [report(0.0), report(1.0)], memory([]))
    values = figures(run).as_json()
    assert values['answered'] == 0
    assert values['median_ms'] is values['overhead_ms'] is values['last_mb'] is None
    json.dumps(values, allow_nan=False)


def test_watched_runs_are_compared_with_those_of_their_rate():
    def row(rate_hz: float, median_ms: float, watched: bool) -> Figures:
        poses = [pose(n * SECOND // 10, median_ms) for n in range(3)]
        reports = [report(0.0), report(1.0)]
        run = Run('raw', rate_hz, 3, 0.2, poses, reports, memory([]), watched)
        return figures(run)

    rows = [row(10.0, 50.0, False), row(10.0, 55.0, True), row(10.0, 50.0, False)]
    (change,) = changes([*rows, row(30.0, 99.0, False)])
    assert (change.rate_hz, change.answered) == (10.0, 1.0)
    assert change.median == pytest.approx(1.1)
    assert '1.10 times the median latency' in change.text()
    nothing = figures(Run('raw', 1.0, 1, 0.0, [], [report(0.0), report(1.0)], memory([]), True))
    (unknown,) = changes([row(1.0, 5.0, False), nothing])
    assert unknown.as_json()['median'] is None


def test_the_watch_sees_this_process():
    with MemoryWatch(os.getpid()) as watch:
        while not watch.samples:
            pass
    assert 10 < watch.last < 100_000
    with MemoryWatch(os.getpid(), shared=False) as own:
        shared = mmap.mmap(-1, 2**26)
        shared.write(bytes(2**26))
        before = len(own.samples)
        while len(own.samples) < before + 2:
            pass
    assert own.last < watch.last + 50
    shared.close()
    with MemoryWatch(2**22 + 1) as nobody:
        pass
    assert nobody.last is None


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (('--checkpoint', 'none.safetensors'), 'does not exist'),
        (('--data', 'nowhere'), 'does not exist'),
        (('--output', 'file'), 'cannot be written'),
        (('--json', '.'), 'cannot be written'),
    ],
)
def test_bad_arguments_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert command.main(['--output', 'output', *words]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith('bench_node: ')
    assert reason in errors
    assert errors.count('\n') == 1


@pytest.mark.parametrize(
    'words', [('--rates', '0'), ('--rates', 'fast'), ('--transports', 'pigeon'), ('--frames', '0')]
)
def test_arguments_that_mean_nothing_are_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        command.main(list(words))
    assert words[0] in capsys.readouterr().err


def test_the_real_node_is_measured_over_dds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / 'figures.json'
    arguments = ['--rates', '5', '--frames', '20', '--images', '3', '--transports', 'compressed']
    arguments += ['--watched', '1']
    arguments += ['--parameter', 'runtime=eager', '--device', 'cpu']
    arguments += ['--output', str(tmp_path / 'logs'), '--json', str(file)]
    assert command.main(arguments) == 0, capsys.readouterr().err
    written = json.loads(file.read_text())
    assert [row['watched'] for row in written['rows']] == [False, True]
    assert written['watched'][0]['median'] > 0
    for row in written['rows']:
        assert row['published'] == row['received'] == 20
        assert row['answered'] + row['overtaken'] + row['refused'] == 20
        assert row['answered'] > 0
        assert 0 < row['localize_ms'] < row['p99_ms']
        assert row['median_ms'] <= row['p95_ms'] <= row['p99_ms']
        assert row['last_mb'] > 100
