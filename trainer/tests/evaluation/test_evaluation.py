"""Evaluation of a localizer whose answers are known."""

import argparse
import csv
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc.errors import AlignmentError
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.network import SceneGeometry
from implicit_loc.uncertainty import ResidualStatistics
from implicit_loc_trainer import datasets
from implicit_loc_trainer.commands import evaluate as command
from implicit_loc_trainer.datasets.parsing import read_tum
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.evaluation import files, pictures
from implicit_loc_trainer.evaluation.frames import evaluate, median_ms, summary
from implicit_loc_trainer.output_files import OutputError

STRIDE = 8
CAMERA = Camera(width=96, height=64, fx=80.0, fy=80.0, cx=47.5, cy=31.5)
KEYS = {
    'frames',
    'lost',
    'median_translation_m',
    'median_rotation_deg',
    'mean_translation_m',
    'mean_rotation_deg',
    'p95_translation_m',
    'p95_rotation_deg',
    'recall_5cm_5deg',
    'recall_10cm_5deg',
    'recall_25cm_10deg',
    'median_ms',
}


def camera_pose(index):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler('xyz', (-90, 0, 12 * index), degrees=True).as_matrix()
    angle = 0.2 * index
    pose[:3, 3] = (2 * math.cos(angle), math.sin(angle), 1.2)
    return pose


def image_of(index):
    return np.full((CAMERA.height, CAMERA.width, 3), index, np.uint8)


def make_samples(count):
    return [
        Sample(
            name=f'{index:06d}',
            camera=CAMERA,
            world_from_camera=camera_pose(index),
            timestamp=index / 10.0,
            load_image=lambda index=index: image_of(index),
        )
        for index in range(count)
    ]


class FakeLocalizer:
    """Knows the pose of every image by its grey value; errors in metres along x, None = lost."""

    def __init__(self, errors_m):
        self.errors_m = errors_m
        self.description = SimpleNamespace(network=SimpleNamespace(stride=STRIDE))

    def localize(self, image, camera):
        index = int(image[0, 0, 0])
        error_m = self.errors_m[index]
        if error_m is None:
            raise AlignmentError('all weights are zero')
        pose = camera_pose(index)
        rays = camera.rays(STRIDE)
        generator = np.random.default_rng(index)
        depth = generator.uniform(1.0, 3.0, size=rays.shape[:2]).astype(np.float32)
        points = (depth[..., None] * rays) @ pose[:3, :3].T + pose[:3, 3]
        estimated = pose.copy()
        estimated[0, 3] += error_m
        return PoseEstimate(
            world_from_camera=estimated,
            covariance=np.eye(6),
            confidence=0.5,
            residuals=ResidualStatistics(96, 0.75, 0.04, 0.03, 1.5),
            geometry=SceneGeometry(points.astype(np.float32), depth, np.clip(depth / 3, 0, 1)),
            camera=camera,
            timings={'preprocessing': 0.001, 'network': 0.02, 'alignment': 0.003, 'total': 0.024},
        )


def run_fake(errors_m, **options):
    return evaluate(FakeLocalizer(errors_m), make_samples(len(errors_m)), **options)


@pytest.fixture
def evaluate_command(monkeypatch):
    """Runs the command with arguments, on a fake checkpoint and recording."""

    def run(errors_m, *words):
        monkeypatch.setattr(Localizer, 'load', lambda *_: FakeLocalizer(errors_m))
        monkeypatch.setattr(datasets, 'open_dataset', lambda *_: make_samples(len(errors_m)))
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.run(
            parser.parse_args(['model.safetensors', '--data', 'room', *map(str, words)])
        )

    return run


def test_a_perfect_localizer_has_no_error():
    results = run_fake([0.0] * 5)
    figures = summary(results.frames)
    assert figures.lost == 0
    assert figures.mean_translation_m == 0.0
    assert figures.mean_rotation_deg < 1e-12
    assert figures.recall_5cm_5deg == 1.0
    assert median_ms(results.frames) == pytest.approx(24.0)


def test_known_errors_come_out_as_they_are():
    frames = run_fake([0.01, 0.02, 0.08, 0.20]).frames
    assert [frame.translation_error_m for frame in frames] == pytest.approx(
        [0.01, 0.02, 0.08, 0.2]
    )
    figures = summary(frames)
    assert figures.median_translation_m == pytest.approx(0.05)
    assert (figures.recall_5cm_5deg, figures.recall_10cm_5deg) == (0.5, 0.75)
    assert figures.recall_25cm_10deg == 1.0


def test_a_refused_frame_is_lost_with_its_reason():
    lost = run_fake([0.0, None]).frames[1]
    assert lost.estimated_pose is None
    assert lost.translation_error_m == math.inf
    assert lost.lost_reason == 'AlignmentError: all weights are zero'


def test_no_pose_and_a_pose_that_is_not_finite_are_lost():
    class Silent:
        def localize(self, image, camera):
            return None

    assert evaluate(Silent(), make_samples(1)).frames[0].lost_reason == 'no pose'
    assert run_fake([math.nan]).frames[0].lost_reason == 'the pose is not finite'


def test_an_unreadable_image_ends_the_evaluation_rather_than_counting_as_lost():
    def fail():
        raise DataError('image.png: damaged')

    sample = Sample('0', CAMERA, np.eye(4), 0.0, fail)
    with pytest.raises(DataError, match='damaged'):
        evaluate(FakeLocalizer([0.0]), [sample])


def test_a_defect_of_the_localizer_is_not_hidden_as_a_lost_frame():
    with pytest.raises(IndexError):
        evaluate(FakeLocalizer([]), make_samples(1))


def test_an_evaluation_without_frames_is_refused():
    with pytest.raises(DataError, match='no frames'):
        run_fake([])


def test_only_the_geometry_of_the_best_and_worst_frames_is_kept():
    errors_m = [0.3, 0.1, None, 0.5, 0.2, 0.4, 0.6]
    results = run_fake(errors_m, shown=2)
    assert [frame.result.translation_error_m for frame in results.best] == pytest.approx(
        [0.1, 0.2]
    )
    assert [frame.result.translation_error_m for frame in results.worst] == pytest.approx(
        [0.6, 0.5]
    )


def test_pnp_uses_the_world_points_and_not_the_wrong_pose():
    results = run_fake([0.5, 0.5, None], pnp_stride=STRIDE)
    assert [frame.translation_error_m < 1e-3 for frame in results.pnp] == [True, True, False]
    figures = files.figures(results)
    assert set(figures) == KEYS | {'pnp'}
    assert set(figures['pnp']) == KEYS
    assert figures['pnp']['lost'] == 1
    assert figures['pnp']['median_ms'] > 21.0


@pytest.mark.parametrize('errors_m', [[0.0, None, None], [None], [0.0, 0.1]])
def test_json_is_valid_with_any_number_of_lost_frames(tmp_path, errors_m):
    def refuse(constant):
        raise AssertionError(constant)

    file = tmp_path / 'figures.json'
    files.write_json(file, run_fake(errors_m))
    figures = json.loads(file.read_text(), parse_constant=refuse)
    assert set(figures) == KEYS
    assert figures['frames'] == len(errors_m)
    assert figures['lost'] == errors_m.count(None)
    assert (figures['mean_translation_m'] is None) == (None in errors_m)


def test_csv_has_one_line_per_frame_also_for_lost_ones(tmp_path):
    files.write_csv(tmp_path / 'frames.csv', run_fake([0.25, None], pnp_stride=STRIDE))
    with (tmp_path / 'frames.csv').open(newline='') as file:
        found, lost = csv.DictReader(file)
    assert (found['name'], found['timestamp']) == ('000000', '0.0')
    assert float(found['translation_error_m']) == 0.25
    assert float(found['total_ms']) == pytest.approx(24.0)
    assert (found['cells'], found['inlier_ratio'], found['lost_reason']) == ('96', '0.75', '')
    assert float(found['pnp_translation_error_m']) < 1e-3
    assert float(lost['translation_error_m']) == math.inf
    assert (lost['confidence'], lost['cells'], lost['total_ms']) == ('', '', '')
    assert lost['pnp_lost_reason'] == 'AlignmentError: all weights are zero'


def test_lost_frames_are_left_out_of_the_tum_file(tmp_path):
    files.write_estimates(tmp_path / 'tum.txt', run_fake([0.0, None, 0.0]).frames)
    stamps, poses = read_tum(tmp_path / 'tum.txt')
    np.testing.assert_allclose(stamps, [0.0, 0.2])
    np.testing.assert_allclose(poses[1], camera_pose(2), atol=1e-8)


def test_the_command_writes_all_that_was_asked_for(tmp_path, evaluate_command, capsys):
    folder = tmp_path / 'new'
    outputs = {name: folder / f'figures.{name}' for name in ('json', 'csv', 'tum')}
    words = [word for name, path in outputs.items() for word in (f'--{name}', path)]
    status = evaluate_command(
        [0.01, None, 0.4, 0.1], '--pnp', *words, '--pictures', folder / 'pictures'
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert '4 (1)' in printed
    assert 'PnP + RANSAC' in printed
    assert 'all weights are zero' in printed
    assert json.loads(outputs['json'].read_text())['lost'] == 1
    names = {path.name for path in folder.rglob('*') if path.is_file()}
    # Nothing temporary stays behind.
    assert names == {path.name for path in outputs.values()} | set(pictures.PICTURES)
    for name in pictures.PICTURES:
        assert cv2.imread(str(folder / 'pictures' / name)).std() > 1.0


def test_pictures_can_be_drawn_when_every_frame_is_lost(tmp_path):
    drawn = pictures.draw(tmp_path, run_fake([None, None]))
    assert [path.name for path in drawn] == ['errors.png', 'trajectory.png']


def test_an_unwritable_target_is_found_before_the_evaluation(tmp_path, evaluate_command):
    (tmp_path / 'file').write_text('kept')
    for words in (
        ('--json', tmp_path),
        ('--csv', tmp_path / 'file' / 'frames.csv'),
        ('--pictures', tmp_path / 'file'),
    ):
        # An empty list of errors fails at the first frame: the check must come first.
        with pytest.raises(OutputError, match='cannot be written'):
            evaluate_command([], *words)
    assert (tmp_path / 'file').read_text() == 'kept'


def test_pictures_leave_pyplot_alone():
    code = (
        'import sys\n'
        'import implicit_loc_trainer.evaluation.pictures\n'
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
