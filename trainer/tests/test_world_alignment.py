"""The fit of a checkpoint's world to a robot's map."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.evaluation.trajectories import write_tum
from implicit_loc_trainer.world_alignment import PosePairs, fit, pairs_of_trajectories

MAP_FROM_WORLD = np.eye(4)
MAP_FROM_WORLD[:3, :3] = Rotation.from_euler('xyz', (1.2, -0.4, 2.9)).as_matrix()
MAP_FROM_WORLD[:3, 3] = (3.0, -20.0, 0.7)


def drive(count: int, straight: bool = False, seed: int = 0) -> np.ndarray:
    """world_from_body of a body that turns as it goes."""
    random = np.random.default_rng(seed)
    bodies = np.tile(np.eye(4), (count, 1, 1))
    bodies[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    bodies[:, :3, 3] = random.normal(size=(count, 3)) * ((5, 0, 0) if straight else (5, 4, 1))
    return bodies


def pairs(bodies: np.ndarray) -> PosePairs:
    return PosePairs([str(i) for i in range(len(bodies))], bodies, MAP_FROM_WORLD @ bodies)


@pytest.mark.parametrize(
    ('bodies', 'lever'),
    [
        (drive(20), 1.0),
        (drive(20), 0.0),
        (drive(20, straight=True), 1.0),
        (drive(1), 1.0),
    ],
)
def test_exact_pairs_give_the_motion_exactly(bodies: np.ndarray, lever: float) -> None:
    found = fit(pairs(bodies), lever)
    assert found.map_from_world == pytest.approx(MAP_FROM_WORLD, abs=1e-9)
    assert found.errors_m.max() < 1e-9
    assert found.errors_deg.max() < 1e-4


def test_noise_averages_out_and_shows_in_the_residuals() -> None:
    exact = pairs(drive(400))
    noisy = exact.map_from_body.copy()
    noisy[:, :3, 3] += 0.05 * np.random.default_rng(1).normal(size=(400, 3))
    found = fit(PosePairs(exact.names, exact.world_from_body, noisy), 1.0)
    assert found.map_from_world == pytest.approx(MAP_FROM_WORLD, abs=0.02)
    assert np.sqrt((found.errors_m**2).mean()) == pytest.approx(0.05 * 3**0.5, rel=0.1)


@pytest.mark.parametrize('bodies', [drive(2), drive(30, straight=True)])
def test_positions_that_leave_a_turn_open_are_refused(bodies: np.ndarray) -> None:
    with pytest.raises(DataError, match=r'three poses|on a line'):
        fit(pairs(bodies), 0.0)


def smooth_drive(times: np.ndarray) -> np.ndarray:
    bodies = np.tile(np.eye(4), (len(times), 1, 1))
    bodies[:, :3, :3] = Rotation.from_euler('z', 0.5 * times[:, None]).as_matrix()
    bodies[:, :3, 3] = np.stack([np.cos(times), np.sin(times), 0 * times], axis=1)
    return bodies


def test_trajectories_are_paired_by_their_stamps(tmp_path: Path) -> None:
    times = np.arange(0.0, 6.0, 0.1)
    write_tum(tmp_path / 'world.tum', list(times), list(smooth_drive(times)))
    later = np.arange(2.03, 9.0, 0.02)
    write_tum(tmp_path / 'map.tum', list(later), list(MAP_FROM_WORLD @ smooth_drive(later)))
    paired = pairs_of_trajectories(tmp_path / 'world.tum', tmp_path / 'map.tum')
    assert len(paired.names) == np.count_nonzero(times >= 2.03)
    assert fit(paired, 1.0).map_from_world == pytest.approx(MAP_FROM_WORLD, abs=1e-3)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main(['align-world', *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def line(*transforms: np.ndarray) -> str:
    values: list[float] = []
    for transform in transforms:
        values += [*transform[:3, 3], *Rotation.from_matrix(transform[:3, :3]).as_quat()]
    return ', '.join(f'{value:.9f}' for value in values)


def test_the_command_prints_what_the_yaml_file_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / 'pairs.csv'
    bodies = drive(5)
    table.write_text('# world, map\n' + '\n'.join(line(b, MAP_FROM_WORLD @ b) for b in bodies))
    code, out, _ = run(capsys, '--pairs', table)
    assert code == 0
    values = yaml.safe_load(out)['world_alignment']
    assert values[:3] == pytest.approx(MAP_FROM_WORLD[:3, 3], abs=1e-6)
    rotation = Rotation.from_quat(values[3:]).as_matrix()
    assert rotation == pytest.approx(MAP_FROM_WORLD[:3, :3], abs=1e-6)
    assert 'are large' not in out


def test_two_bodies_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / 'pairs.csv'
    optical = np.eye(4)
    optical[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    table.write_text('\n'.join(line(b, MAP_FROM_WORLD @ b @ optical) for b in drive(9)))
    assert 'are large' in run(capsys, '--pairs', table)[1]
    assert 'are large' not in run(capsys, '--pairs', table, '--positions-only')[1]


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'has no pairs'),
        ('1 2 3', '14 numbers, found 3'),
        (' '.join(['nan'] * 14), 'not finite'),
        (' '.join(['0'] * 14), 'length 0.0000, not 1'),
        ('a ' * 14, 'is not a number'),
    ],
)
def test_what_is_no_table_of_pairs_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    table = tmp_path / 'pairs.csv'
    table.write_text(text)
    code, out, err = run(capsys, '--pairs', table)
    assert (code, out, err.count('\n')) == (1, '', 1)
    assert reason in err


def test_files_that_do_not_fit_together_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tum(tmp_path / 'world.tum', [1.0], list(drive(1)))
    write_tum(tmp_path / 'map.tum', [1e9], list(drive(1)))
    (tmp_path / 'empty.tum').write_text('')
    world = ('--world', tmp_path / 'world.tum')
    for arguments, reason in (
        ((*world, '--map', tmp_path / 'map.tum'), 'one clock'),
        ((*world, '--map', tmp_path / 'empty.tum'), 'has no poses'),
        ((*world, '--map', tmp_path / 'none.tum'), 'cannot read'),
        (world, 'give both'),
        ((), 'give both'),
    ):
        code, _, err = run(capsys, *arguments)
        assert (code, err.count('\n')) == (1, 1)
        assert reason in err
