"""Trajectory files, and files that are written whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.trajectories import (
    OutputError,
    check_writable,
    read_tum,
    read_world_to_camera,
    replacing,
    write_tum,
)

VALID = '0.5 1 2 3 0 0 0 1\n'


def test_a_tum_file_gives_back_what_was_written(tmp_path):
    stamps = np.arange(40) / 30.0
    poses = np.tile(np.eye(4), (40, 1, 1))
    poses[:, :3, :3] = Rotation.random(40, random_state=0).as_matrix()
    poses[:, :3, 3] = np.random.default_rng(0).normal(scale=10.0, size=(40, 3))
    file = tmp_path / 'new' / 'folder' / 'trajectory.txt'
    write_tum(file, list(stamps), list(poses))
    read_stamps, read_poses = read_tum(file)
    np.testing.assert_allclose(read_stamps, stamps, atol=1e-9)
    np.testing.assert_allclose(read_poses, poses, atol=1e-8)


def test_tum_columns_are_translation_then_quaternion_x_y_z_w(tmp_path):
    file = tmp_path / 'tum.txt'
    half = np.sqrt(0.5)
    file.write_text(f'# comment\n\n12.5 1 2 3 0 0 {half} {half}\n')
    stamps, poses = read_tum(file)
    assert stamps.tolist() == [12.5]
    np.testing.assert_allclose(poses[0, :3, 3], (1, 2, 3))
    # A quarter turn about z takes x to y.
    np.testing.assert_allclose(poses[0, :3, :3] @ (1, 0, 0), (0, 1, 0), atol=1e-12)


def test_an_empty_trajectory_can_be_written_and_read(tmp_path):
    write_tum(tmp_path / 'tum.txt', [], [])
    stamps, poses = read_tum(tmp_path / 'tum.txt')
    assert stamps.shape == (0,)
    assert poses.shape == (0, 4, 4)


@pytest.mark.parametrize(
    ('line', 'complaint'),
    [
        ('0.5 1 2 3 0 0 0', '7 values'),
        ('0.5 1 2 3 0 0 0 1 9', '9 values'),
        ('0.5 1 2 three 0 0 0 1', "'three' is not a number"),
        ('0.5 1 2 nan 0 0 0 1', "'nan' is not a finite number"),
        ('0.5 1 2 3 0 0 inf 1', "'inf' is not a finite number"),
        ('0.5 1 2 3 0 0 0 2', 'length 2'),
        ('0.5 1 2 3 0 0 0 0', 'length 0'),
    ],
)
def test_a_malformed_tum_line_is_named_with_its_file(tmp_path, line, complaint):
    file = tmp_path / 'tum.txt'
    file.write_text(VALID + '# comment\n' + line + '\n')
    with pytest.raises(DataError, match=complaint) as raised:
        read_tum(file)
    assert str(raised.value).startswith(f'{file}:3: ')


def test_world_to_camera_lines_are_inverted_and_further_columns_ignored(tmp_path):
    file = tmp_path / 'estimates.txt'
    half = np.sqrt(0.5)
    file.write_text(f'seq/a.png {half} 0 0 {half} 1 2 3 525.0 ignored\nb.png 1 0 0 0 1 2 3\n')
    poses = read_world_to_camera(file)
    assert list(poses) == ['seq/a.png', 'b.png']
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = Rotation.from_euler('z', 90, degrees=True).as_matrix()
    camera_from_world[:3, 3] = (1, 2, 3)
    np.testing.assert_allclose(poses['seq/a.png'] @ camera_from_world, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(poses['b.png'][:3, 3], (-1, -2, -3))


@pytest.mark.parametrize(
    ('line', 'complaint'),
    [
        ('c.png 1 0 0 0 1 2', 'at least 8'),
        ('c.png 1 0 0 0 1 2 nan', 'not a finite number'),
        ('c.png 1 1 0 0 1 2 3', 'no rotation'),
        ('a.png 1 0 0 0 1 2 3', 'a.png already has a pose'),
    ],
)
def test_a_malformed_world_to_camera_line_is_named_with_its_file(tmp_path, line, complaint):
    file = tmp_path / 'estimates.txt'
    file.write_text(f'a.png 1 0 0 0 1 2 3\n{line}\n')
    with pytest.raises(DataError, match=complaint) as raised:
        read_world_to_camera(file)
    assert str(raised.value).startswith(f'{file}:2: ')


def test_a_binary_file_is_one_clear_error(tmp_path):
    file = tmp_path / 'image.png'
    file.write_bytes(b'\x89PNG\xff\xfe')
    with pytest.raises(DataError, match='not a text file'):
        read_tum(file)


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    file = tmp_path / 'figures.json'
    file.write_text('old')

    def fail_halfway():
        with replacing(file) as temporary:
            temporary.write_text('half of the n')
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert file.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [file]


def test_targets_that_cannot_be_written_are_found_beforehand(tmp_path):
    (tmp_path / 'file').write_text('kept')
    with pytest.raises(OutputError, match='it is a folder or a device'):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match='a part of it is no folder'):
        check_writable(tmp_path / 'file' / 'figures.json')
    with pytest.raises(OutputError, match='it is a folder or a device'):
        # Replacing a device by a file would break more than this command.
        check_writable(Path('/dev/null'))


def test_the_check_leaves_nothing_but_parent_folders(tmp_path):
    (tmp_path / 'file').write_text('kept')
    check_writable(tmp_path / 'file')
    check_writable(tmp_path / 'new' / 'figures.json')
    assert (tmp_path / 'file').read_text() == 'kept'
    assert not any((tmp_path / 'new').iterdir())
