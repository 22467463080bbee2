"""Trajectory files."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.datasets.parsing import read_tum, read_world_to_camera
from implicit_loc_trainer.datasets.sample import DataError
from implicit_loc_trainer.evaluation.trajectories import write_tum

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
        ('0.5 1 2 3 0 0 0', 'found 7 values'),
        ('0.5 1 2 3 0 0 0 1 9', 'found 9 values'),
        ('0.5 1 2 three 0 0 0 1', "'three' is not a number"),
        ('0.5 1 2 nan 0 0 0 1', "'nan' is not finite"),
        ('0.5 1 2 3 0 0 inf 1', "'inf' is not finite"),
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


def test_world_to_camera_lines_are_inverted_and_further_words_kept(tmp_path):
    file = tmp_path / 'estimates.txt'
    half = np.sqrt(0.5)
    file.write_text(f'seq/a.png {half} 0 0 {half} 1 2 3 525.0 more\nb.png 1 0 0 0 1 2 3\n')
    listed = read_world_to_camera(file)
    assert list(listed) == ['seq/a.png', 'b.png']
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = Rotation.from_euler('z', 90, degrees=True).as_matrix()
    camera_from_world[:3, 3] = (1, 2, 3)
    first, second = listed.values()
    np.testing.assert_allclose(first.world_from_camera @ camera_from_world, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(second.world_from_camera[:3, 3], (-1, -2, -3))
    assert (first.place, second.place) == (f'{file}:1', f'{file}:2')
    assert (first.further, second.further) == (['525.0', 'more'], [])


@pytest.mark.parametrize(
    ('line', 'complaint'),
    [
        ('c.png 1 0 0 0 1 2', 'found 7 values'),
        ('c.png 1 0 0 0 1 2 nan', 'not finite'),
        ('c.png 1 1 0 0 1 2 3', 'not a rotation'),
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
    with pytest.raises(DataError, match=r'cannot read .*image\.png'):
        read_tum(file)
