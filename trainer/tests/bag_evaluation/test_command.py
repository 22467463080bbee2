"""The command from bag to files: its figures, its exit status, and one line for what is wrong."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bag_messages import (
    compressed,
    info,
    poses,
    write_bag,
)
from drive_localizer import DriveLocalizer, drive, drive_images, run, stamp, true_pose
from rosbags.rosbag2 import StoragePlugin
from scipy.spatial.transform import Rotation

from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets.parsing import read_tum
from implicit_loc_trainer.evaluation.trajectories import write_tum


def figures(folder: Path) -> dict:
    return json.loads((folder / 'figures.json').read_text())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / 'frames.csv').open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_every_image_is_localized_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: StoragePlugin, capsys
) -> None:
    localizer = DriveLocalizer((0.01, 0.02, 0.03, None, 0.4), (0.9, 0.1, 0.9, 0.9, 0.9))
    bag, output = drive(tmp_path, storage=storage), tmp_path / 'out'
    arguments = (bag, 'map.safetensors', '--output', output)
    assert run(monkeypatch, localizer, *arguments, plots=storage is StoragePlugin.MCAP) == 0
    assert localizer.localized == list(range(10))
    found = figures(output)
    assert (found['frames'], found['lost']) == (10, 2)
    assert found['rejected'] == {'confidence': 2, 'alignment': 2}
    assert (found['availability'], found['false_accepts']) == (0.6, 2)
    assert found['median_translation_m'] == pytest.approx(0.03, abs=1e-6)
    assert found['accepted_median_translation_m'] == pytest.approx(0.03, abs=1e-6)
    assert found['longest_outage_s'] == pytest.approx(0.2, abs=1e-6)
    assert found['settings']['truth'] == '/poses'
    table = rows(output)
    assert [int(row['stamp_ns']) for row in table] == [stamp(i) for i in range(10)]
    assert [row['rejected_because'] for row in table[:5]] == [
        '', 'confidence', '', 'alignment', '',
    ]  # fmt: skip
    times, estimates = read_tum(output / 'estimate.tum')
    assert len(times) == 6
    np.testing.assert_allclose(times[0], stamp(0) * 1e-9, atol=1e-6)
    np.testing.assert_allclose(estimates[0][:3, 3], (1.01, 2, 3), atol=1e-6)
    assert len(read_tum(output / 'truth.tum')[0]) == 10
    assert (output / 'report.html').stat().st_size > 20_000
    if storage is StoragePlugin.MCAP:
        assert (output / 'plots' / 'errors.png').stat().st_size > 10_000
    said = capsys.readouterr().out
    assert 'availability      60.0 % accepted, longest outage 0.20 s' in said
    assert 'No alignment' in said


def test_compressed_images_and_two_runs_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [compressed(stamp(i), '.png', i) for i in range(10)]
    bag = write_bag(tmp_path, [*pictures, info(), *poses()])
    for name in ('a', 'b'):
        localizer = DriveLocalizer((0.01, 0.02, None))
        assert run(monkeypatch, localizer, bag, 'm', '--output', tmp_path / name) == 0
    first, second = rows(tmp_path / 'a'), rows(tmp_path / 'b')
    assert len(first) == 10
    assert first == second


def test_requirements_set_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    bag, output = drive(tmp_path), tmp_path / 'out'
    common = (bag, 'm', '--output', output, '--force', '--require')
    localizer = DriveLocalizer((0.01,))
    assert run(monkeypatch, localizer, *common, 'median_translation_m<0.1') == 0
    both = 'median_translation_m<0.1,recall_5cm_5deg>1'
    assert run(monkeypatch, localizer, *common, both) == 2
    assert 'FAILED: recall_5cm_5deg > 1, found 1' in capsys.readouterr().out
    met = [one['is_met'] for one in figures(output)['requirements']]
    assert met == [True, False]
    # Before any work.
    localizer = DriveLocalizer()
    assert run(monkeypatch, localizer, *common, 'median<0.1') == 1
    assert 'known are frames, lost, median_translation_m' in capsys.readouterr().err
    assert localizer.localized == []


def test_nothing_is_overwritten_without_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    bag, output = drive(tmp_path), tmp_path / 'out'
    output.mkdir()
    (output / 'figures.json').write_text('mine')
    localizer = DriveLocalizer()
    assert run(monkeypatch, localizer, bag, 'm', '--output', output) == 1
    assert 'already holds figures.json' in capsys.readouterr().err
    assert (output / 'figures.json').read_text() == 'mine'
    assert localizer.localized == []
    assert run(monkeypatch, localizer, bag, 'm', '--output', output, '--force') == 0
    assert figures(output)['frames'] == 10


def test_the_settings_say_what_ran_and_not_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    output = tmp_path / 'out'
    assert run(monkeypatch, DriveLocalizer(), drive(tmp_path), 'm', '--output', output) == 0
    found = figures(output)['settings']
    assert (found['device'], found['runtime']) == ('cpu', 'known geometry')
    assert 'known geometry' in capsys.readouterr().out


def test_no_bag_of_an_earlier_evaluation_stays_beside_new_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """And what is no bag is not removed, but said before the work."""
    localized = tmp_path / 'out' / 'localized'
    arguments = (drive(tmp_path), 'm', '--output', tmp_path / 'out', '--force')
    assert run(monkeypatch, DriveLocalizer(), *arguments, '--result-bag') == 0
    assert (localized / 'metadata.yaml').is_file()
    assert run(monkeypatch, DriveLocalizer(), *arguments) == 0
    assert not localized.exists()
    localized.mkdir()
    (localized / 'thesis.tex').touch()
    localizer = DriveLocalizer()
    for more in ((), ('--result-bag',)):
        assert run(monkeypatch, localizer, *arguments, *more) == 1
        assert 'localized is in the way: it is no bag' in capsys.readouterr().err
    assert localizer.localized == []
    assert (localized / 'thesis.tex').exists()


def test_alignment_is_said_and_takes_a_constant_motion_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    # The estimates go to and fro beside the drive; the truth is the same way in another world.
    sides = (0.0, 0.3)
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler('xyz', (5, 10, 60), degrees=True).as_matrix()
    motion[:3, 3] = (4, -2, 1)
    true = []
    for i in range(10):
        pose = true_pose(i)
        pose[0, 3] += sides[i % 2]
        true.append(motion @ pose)
    write_tum(tmp_path / 'truth.tum', [stamp(i) * 1e-9 for i in range(10)], true)
    bag = write_bag(tmp_path, [*drive_images(), info()])
    arguments = (bag, 'm', '--output', tmp_path / 'out', '--force')
    arguments = (*arguments, '--truth', tmp_path / 'truth.tum')
    assert run(monkeypatch, DriveLocalizer(sides), *arguments) == 0
    assert figures(tmp_path / 'out')['median_translation_m'] > 2.0
    assert run(monkeypatch, DriveLocalizer(sides), *arguments, '--align') == 0
    found = figures(tmp_path / 'out')
    assert found['accepted_max_translation_m'] < 1e-4
    np.testing.assert_allclose(found['truth_from_map'], motion, atol=1e-4)
    assert 'Aligned: all estimates were moved by the one rigid motion' in capsys.readouterr().out


def test_a_damaged_image_is_a_rejected_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [compressed(stamp(i), '.png', i) for i in range(10)]
    pictures[4][3].data = pictures[4][3].data[:60]
    bag = write_bag(tmp_path, [*pictures, info(), *poses()])
    assert run(monkeypatch, DriveLocalizer((0.01,)), bag, 'm', '--output', tmp_path / 'o') == 0
    found = figures(tmp_path / 'o')
    assert (found['frames'], found['lost'], found['rejected']) == (10, 1, {'image': 1})


def test_a_folder_that_cannot_be_written_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / 'file').write_text('')
    localizer = DriveLocalizer()
    assert run(monkeypatch, localizer, drive(tmp_path), 'm', '--output', tmp_path / 'file') == 1
    assert 'cannot be written' in capsys.readouterr().err
    assert localizer.localized == []


@pytest.mark.parametrize(
    'option',
    [
        ('--time-offset', 'soon'), ('--time-offset', 'nan'), ('--every', '0'),
        ('--start', '-1'), ('--duration', 'inf'), ('--min-confidence', '2'),
    ],
)  # fmt: skip
def test_malformed_options_are_refused(tmp_path: Path, option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(['evaluate-bag', str(tmp_path), 'm', '='.join(option)])
    assert stop.value.code == 2


def test_a_checkpoint_that_is_none_is_said(tmp_path: Path, capsys) -> None:
    bag = drive(tmp_path)
    (tmp_path / 'm.safetensors').write_text('no checkpoint')
    for name in ('m.safetensors', 'none.safetensors'):
        arguments = [str(bag), str(tmp_path / name), '--output', str(tmp_path / 'out')]
        assert cli.main(['evaluate-bag', *arguments]) == 1
        assert name in capsys.readouterr().err


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'implicit_loc_trainer', 'evaluate-bag', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'median_translation_m<0.1' in done.stdout
