"""The implicit map as a point cloud, and as a PLY file."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest

from implicit_loc.camera import Camera
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneGeometry
from implicit_loc_trainer import cli, datasets
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.colours import cell_colours
from implicit_loc_trainer.report.ply import write_ply
from implicit_loc_trainer.report.point_cloud import PointCloud, frame_cloud, gather

CAMERA = Camera(32, 24, 30.0, 30.0, 15.5, 11.5)
DESCRIPTION = SimpleNamespace(network=SimpleNamespace(stride=8), input_height=24)


def cloud(positions, weights=None):
    positions = np.asarray(positions, np.float32).reshape(-1, 3)
    count = len(positions)
    colours = np.arange(3 * count, dtype=np.uint32).reshape(count, 3).astype(np.uint8)
    weights = np.ones(count) if weights is None else weights
    return PointCloud(positions, colours, np.asarray(weights, np.float32))


def random_clouds(count, size, seed=0):
    rng = np.random.default_rng(seed)
    return [cloud(rng.normal(size=(size, 3)), rng.random(size)) for _ in range(count)]


def voxels(points, side):
    return {tuple(row) for row in np.floor(points.positions.astype(np.float64) / side)}


class FakeLocalizer:
    """Predicts the same cells for every image."""

    description = DESCRIPTION

    def __init__(self, geometry):
        self.geometry = geometry

    def predict(self, image, camera):
        return self.geometry


def geometry(**changes):
    cells = np.arange(36, dtype=np.float32).reshape(3, 4, 3)
    values = {'world_points': cells, 'depth': np.ones((3, 4), np.float32),
              'weights': np.full((3, 4), 0.5, np.float32), **changes}  # fmt: skip
    return SceneGeometry(**values)


def sample(**named):
    image = np.zeros((24, 32, 3), np.uint8)
    return Sample('a', CAMERA, np.eye(4), 0.0, lambda: image, **named)


def read_ply(path):
    """By hand, byte by byte: independent of how the file was written."""
    content = path.read_bytes()
    header, body = content.split(b'end_header\n', 1)
    lines = header.decode('ascii').splitlines()
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    count = int(next(line for line in lines if line.startswith('element vertex')).split()[2])
    properties = [line.split()[1:] for line in lines if line.startswith('property')]
    letters = {'float': 'f', 'uchar': 'B'}
    layout = '<' + ''.join(letters[kind] for kind, _ in properties)
    rows = list(struct.iter_unpack(layout, body))
    assert len(rows) == count
    return [name for _, name in properties], rows


def test_a_voxel_keeps_its_highest_weight():
    kept = gather([cloud([[0.1, 0.1, 0.1], [0.2, 0.2, 0.2], [1.5, 0, 0]], [0.3, 0.9, 0.1])], 9, 1)
    np.testing.assert_allclose(sorted(kept.weights), [0.1, 0.9], rtol=1e-6)
    assert voxels(kept, 1.0) == {(0, 0, 0), (1, 0, 0)}


def test_without_voxels_every_point_stays():
    clouds = random_clouds(3, 50)
    kept = gather(clouds, 1000)
    np.testing.assert_array_equal(kept.positions, np.concatenate([c.positions for c in clouds]))


def test_the_result_does_not_depend_on_how_the_points_come_in():
    """One large cloud or many small ones, with intermediate thinning or without."""
    clouds = random_clouds(200, 100)
    joined = PointCloud(*(np.concatenate([getattr(c, name) for c in clouds])
                          for name in ('positions', 'colours', 'weights')))  # fmt: skip
    for most in (300, 3000):
        whole, parts = gather([joined], most, 0.01), gather(clouds, most, 0.01)
        np.testing.assert_array_equal(whole.positions, parts.positions)
        np.testing.assert_array_equal(whole.colours, parts.colours)
        assert len(whole) <= most
        assert len(whole) > most / 4


def test_memory_is_bounded_by_the_points_wanted():
    """A thousand times more points than wanted go through; a quarter of them is never held."""
    held = []

    def endless():
        rng = np.random.default_rng(0)
        for _ in range(400):
            held.append(1)
            yield cloud(rng.normal(size=(500, 3)), rng.random(500))

    import tracemalloc

    tracemalloc.start()
    kept = gather(endless(), 200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < len(kept) <= 200
    assert len(held) == 400
    assert peak < 400 * 500 * 19 / 4


@pytest.mark.parametrize('most', [1, 2, 7])
def test_never_more_points_than_asked_for(most):
    """Eight points about the origin lie in eight voxels of any size."""
    corners = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    kept = gather([cloud(corners, np.arange(8) / 8)], most, 0.5)
    assert len(kept) <= most
    assert 7 / 8 in kept.weights


def test_points_below_the_least_weight_are_left_out():
    assert len(gather([cloud(np.eye(3), [0.1, 0.5, 0.9])], 9, least_weight=0.5)) == 2


def test_cells_that_are_not_finite_make_no_point():
    points = geometry().world_points.copy()
    points[0, 0, 1], points[0, 1, 0], points[0, 2, 2] = np.nan, np.inf, 1e30
    weights = np.full((3, 4), 0.5, np.float32)
    weights[2, 3] = np.nan
    found = frame_cloud(geometry(world_points=points, weights=weights), sample().load_image(),
                        sample(), DESCRIPTION)  # fmt: skip
    assert len(found) == 8
    assert np.isfinite(found.positions).all()


def test_what_the_recording_says_to_ignore_is_not_mapped():
    mask = np.zeros((24, 32), bool)
    mask[:, :16] = True
    masked = sample(load_mask=lambda: mask)
    found = frame_cloud(geometry(), masked.load_image(), masked, DESCRIPTION)
    np.testing.assert_array_equal(found.positions, geometry().world_points[:, 2:].reshape(-1, 3))


def test_a_cell_has_the_mean_colour_of_its_pixels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    cells = cell_colours(image, Camera(30, 24, 30.0, 30.0, 14.5, 11.5), 24, 8)
    assert cells.shape == (3, 4, 3)
    expected = image[8:16, 16:24].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(cells[1, 2], expected, atol=0.51)


def test_a_ply_file_holds_the_points(tmp_path):
    points = random_clouds(1, 100)[0]
    write_ply(tmp_path / 'map.ply', points)
    names, rows = read_ply(tmp_path / 'map.ply')
    assert names == ['x', 'y', 'z', 'red', 'green', 'blue', 'weight']
    values = np.array(rows)
    np.testing.assert_array_equal(values[:, :3].astype(np.float32), points.positions)
    np.testing.assert_array_equal(values[:, 3:6], points.colours)
    np.testing.assert_array_equal(values[:, 6].astype(np.float32), points.weights)
    write_ply(tmp_path / 'none.ply', points.at(np.zeros(100, bool)))
    assert read_ply(tmp_path / 'none.ply')[1] == []


@pytest.fixture
def map_command(monkeypatch, tmp_path):
    def run(*words, frames=3, predicted=None):
        monkeypatch.setattr(
            Localizer, 'load', lambda *_, **__: FakeLocalizer(predicted or geometry())
        )
        monkeypatch.setattr(datasets, 'open_dataset', lambda *_: [sample()] * frames)
        target = ['--data', 'room', '--ply', str(tmp_path / 'map.ply')]
        return cli.main(['map', 'model.safetensors', *target, *words])

    return run


def test_the_command_writes_the_same_file_again(tmp_path, map_command, capsys):
    assert map_command() == 0
    assert '(12 points of 3 frames)' in capsys.readouterr().out
    first = (tmp_path / 'map.ply').read_bytes()
    assert map_command() == 0
    assert (tmp_path / 'map.ply').read_bytes() == first
    assert map_command('--voxel', '0') == 0
    assert len(read_ply(tmp_path / 'map.ply')[1]) == 36
    assert [path.name for path in tmp_path.iterdir()] == ['map.ply']


def test_a_cloud_without_points_is_refused(map_command, capsys, tmp_path):
    assert map_command('--least-weight', '0.6') == 1
    assert 'lower --least-weight' in capsys.readouterr().err
    broken = geometry(world_points=np.full((3, 4, 3), np.nan, np.float32))
    assert map_command(predicted=broken) == 1
    assert not (tmp_path / 'map.ply').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--voxel', '-1'], "'-1' must be a number of at least 0"),
        (['--voxel', 'nan'], "'nan' must be"),
        (['--least-weight', 'much'], "'much' must be"),
        (['--most-points', '0'], "'0' must be a whole number"),
    ],
)
def test_bad_options_end_in_one_line(words, message, map_command, capsys):
    with pytest.raises(SystemExit):
        map_command(*words)
    assert message in capsys.readouterr().err


def test_an_unwritable_target_is_found_first(tmp_path, capsys):
    (tmp_path / 'file').write_text('kept')
    target = str(tmp_path / 'file' / 'map.ply')
    assert cli.main(['map', 'none.safetensors', '--data', 'demo-room', '--ply', target]) == 1
    assert 'cannot be written' in capsys.readouterr().err


@pytest.mark.parametrize('size', [1.0, 1e5])
def test_thinning_is_right_at_any_distance_from_the_origin(size):
    """At the finest voxels of a large scene, their numbers would overflow 64 bits."""
    points = (size * np.random.default_rng(0).normal(size=(500, 3))).astype(np.float32)
    twice = cloud(np.concatenate([points, points]), np.linspace(0, 1, 1000))
    kept = gather([twice], 2000, 1e-3)
    assert {tuple(row) for row in kept.positions} == {tuple(row) for row in points}
    assert kept.weights.min() > 0.49
