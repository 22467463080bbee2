"""Evaluation of a localizer whose answers are known."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from known_localizer import CAMERA, KnownLocalizer, pose, samples

from implicit_loc.errors import AlignmentError
from implicit_loc_trainer.datasets.parsing import read_tum
from implicit_loc_trainer.datasets.sample import DataError, Sample
from implicit_loc_trainer.evaluation import files, pictures
from implicit_loc_trainer.evaluation.frames import stages_ms, summary, worse_share
from implicit_loc_trainer.evaluation.running import evaluate

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
    'gross_failures',
    'nees_mean',
    'coverage90_translation',
    'coverage90_rotation',
    'accepted',
    'accepted_within_25cm_10deg',
    'used_fallback',
    'median_ms',
    'stages_ms',
}
HOW = {'solver', 'min_confidence'}


def run_known(errors_m, **options):
    return evaluate(KnownLocalizer(errors_m), samples(len(errors_m)), **options)


def test_a_perfect_localizer_has_no_error():
    results = run_known([0.0] * 5)
    figures = summary(results.frames)
    assert figures.lost == 0
    assert figures.gross_failures == 0.0
    assert figures.mean_translation_m == 0.0
    assert figures.mean_rotation_deg < 1e-12
    assert figures.recall_5cm_5deg == 1.0
    assert stages_ms(results.frames) == pytest.approx(
        {
            'preprocessing': 1.0,
            'network': 20.0,
            'alignment': 2.0,
            'refinement': 1.0,
            'solving': 3.0,
            'total': 24.0,
        }
    )


def test_known_errors_come_out_as_they_are():
    frames = run_known([0.01, 0.02, 0.08, 0.20]).frames
    assert [frame.translation_error_m for frame in frames] == pytest.approx(
        [0.01, 0.02, 0.08, 0.2]
    )
    figures = summary(frames)
    assert figures.median_translation_m == pytest.approx(0.05)
    assert (figures.recall_5cm_5deg, figures.recall_10cm_5deg) == (0.5, 0.75)
    assert figures.recall_25cm_10deg == 1.0


def test_a_refused_frame_is_lost_with_its_reason():
    lost = run_known([0.0, None]).frames[1]
    assert lost.estimated_pose is None
    assert lost.translation_error_m == math.inf
    assert lost.lost_reason == 'AlignmentError: all weights are zero'


def test_no_pose_and_a_pose_that_is_not_finite_are_lost():
    class Silent(KnownLocalizer):
        def localize(self, image, camera, mask=None):
            return None

    assert evaluate(Silent([0.0]), samples(1)).frames[0].lost_reason == 'no pose'
    assert run_known([math.nan]).frames[0].lost_reason == 'the pose is not finite'


def test_an_unreadable_image_ends_the_evaluation_rather_than_counting_as_lost():
    def fail():
        raise DataError('image.png: damaged')

    sample = Sample('0', CAMERA, np.eye(4), 0.0, fail)
    with pytest.raises(DataError, match='damaged'):
        evaluate(KnownLocalizer([0.0]), [sample])


def test_a_defect_of_the_localizer_is_not_hidden_as_a_lost_frame():
    with pytest.raises(ZeroDivisionError):
        evaluate(KnownLocalizer([]), samples(1))


def test_an_evaluation_without_frames_is_refused():
    with pytest.raises(DataError, match='no frames'):
        run_known([])


def test_only_the_geometry_of_the_best_and_worst_frames_is_kept():
    errors_m = [0.3, 0.1, None, 0.5, 0.2, 0.4, 0.6]
    results = run_known(errors_m, shown=2)
    assert [frame.result.translation_error_m for frame in results.best] == pytest.approx(
        [0.1, 0.2]
    )
    assert [frame.result.translation_error_m for frame in results.worst] == pytest.approx(
        [0.6, 0.5]
    )


def test_every_solver_gets_the_same_predictions_and_the_network_runs_once():
    class Counting(KnownLocalizer):
        predicted = 0

        def predict(self, image, camera):
            self.predicted += 1
            return super().predict(image, camera)

    localizer = Counting([0.5, 0.1])
    results = evaluate(localizer, samples(2), ('weighted', 'pnp_ransac'))
    assert localizer.predicted == 2
    assert list(results.methods) == ['robust', 'weighted', 'pnp_ransac']
    errors = {
        name: [round(frame.translation_error_m, 6) for frame in frames]
        for name, frames in results.methods.items()
    }
    assert errors == {'robust': [0.5, 0.1], 'weighted': [0.5, 0.1], 'pnp_ransac': [0.0, 0.0]}


def test_a_solver_may_find_what_the_localizers_own_refuses():
    class Refusing(KnownLocalizer):
        def localize(self, image, camera, mask=None):
            raise AlignmentError('no')

    results = evaluate(Refusing([0.1]), samples(1), ('pnp_ransac',))
    assert results.frames[0].lost_reason == 'AlignmentError: no'
    found = results.solvers['pnp_ransac'][0]
    assert found.translation_error_m < 1e-9
    assert stages_ms([found])['solving'] == pytest.approx(3.0)


def test_a_frame_without_prediction_is_lost_for_every_solver():
    class Blind(KnownLocalizer):
        def predict(self, image, camera):
            raise AlignmentError('nothing to see')

    results = evaluate(Blind([0.1]), samples(1), ('weighted', 'pnp_ransac'))
    for frames in results.methods.values():
        assert frames[0].lost_reason == 'AlignmentError: nothing to see'


@pytest.mark.parametrize('errors_m', [[0.0, None, None], [None], [0.0, 0.1]])
def test_json_is_valid_with_any_number_of_lost_frames(tmp_path, errors_m):
    def refuse(constant):
        raise AssertionError(constant)

    file = tmp_path / 'figures.json'
    files.write_json(file, run_known(errors_m), 0.5)
    figures = json.loads(file.read_text(), parse_constant=refuse)
    assert set(figures) == KEYS | HOW
    assert figures['frames'] == len(errors_m)
    assert figures['lost'] == errors_m.count(None)
    found = 1 - errors_m.count(None) / len(errors_m)
    assert figures['accepted'] == pytest.approx(found)
    assert figures['gross_failures'] == pytest.approx(1 - found)
    assert (figures['mean_translation_m'] is None) == (None in errors_m)
    assert (figures['nees_mean'] is None) == (found == 0)


def test_json_has_a_row_of_the_same_figures_for_every_solver():
    figures = files.figures(run_known([0.5, None], solvers=('weighted', 'pnp_ransac')), 0.5)
    assert set(figures) == KEYS | HOW | {'solvers'}
    assert [row['name'] for row in figures['solvers']] == ['robust', 'weighted', 'pnp_ransac']
    for row in figures['solvers']:
        assert set(row) == KEYS | {'name', 'worse_share'}
        assert row['lost'] == 1
    own = {name: figures[name] for name in KEYS}
    assert figures['solvers'][0] == {'name': 'robust', 'worse_share': 0.0, **own}


def test_frames_that_a_solver_makes_worse_are_counted():
    first = run_known([0.10, 0.10, 0.10, None]).frames
    second = run_known([0.10, 0.12, None, None]).frames
    assert worse_share(second, first) == 0.5
    assert worse_share(first, second) == 0.0


def test_a_stage_counts_only_where_it_took_part():
    results = run_known([0.1, 0.1, 0.1, None])
    results.frames[0].timings['consensus'] = 0.012
    results.frames[1].timings['consensus'] = 0.0
    stages = stages_ms(results.frames)
    assert stages['consensus'] == pytest.approx(12.0)
    assert stages['solving'] == pytest.approx(3.0)


def test_poses_below_the_least_confidence_are_not_accepted():
    results = run_known([0.1, 0.4])
    assert files.figures(results, 0.5)['accepted'] == 1.0
    assert files.figures(results, 0.5)['accepted_within_25cm_10deg'] == 0.5
    assert files.figures(results, 0.51)['accepted'] == 0.0
    assert files.figures(results, 0.51)['accepted_within_25cm_10deg'] is None


def test_csv_has_one_line_per_frame_also_for_lost_ones(tmp_path):
    results = run_known([0.25, None], solvers=('pnp_ransac',))
    files.write_csv(tmp_path / 'frames.csv', results)
    with (tmp_path / 'frames.csv').open(newline='') as file:
        found, lost = csv.DictReader(file)
    assert (found['name'], found['timestamp']) == ('000000', '0.0')
    assert float(found['translation_error_m']) == 0.25
    assert float(found['total_ms']) == pytest.approx(24.0)
    assert (found['cells'], found['inlier_ratio'], found['lost_reason']) == ('96', '0.75', '')
    # The covariance is the identity.
    assert float(found['translation_deviation_m']) == pytest.approx(math.sqrt(3))
    assert float(found['nees']) == pytest.approx(0.25**2)
    assert float(found['pnp_ransac_translation_error_m']) < 1e-3
    assert float(lost['translation_error_m']) == math.inf
    assert (lost['confidence'], lost['cells'], lost['total_ms'], lost['nees']) == ('', '', '', '')
    assert lost['pnp_ransac_lost_reason'] == 'AlignmentError: all weights are zero'


def test_lost_frames_are_left_out_of_the_tum_file(tmp_path):
    files.write_estimates(tmp_path / 'tum.txt', run_known([0.0, None, 0.0]).frames)
    stamps, poses = read_tum(tmp_path / 'tum.txt')
    np.testing.assert_allclose(stamps, [0.0, 0.2])
    np.testing.assert_allclose(poses[1], pose(2), atol=1e-8)


def test_pictures_can_be_drawn_when_every_frame_is_lost(tmp_path):
    drawn = pictures.draw(tmp_path, run_known([None, None]), 0.5)
    assert [path.name for path in drawn] == ['errors.png', 'trajectory.png']


def test_pictures_can_be_drawn_when_no_frame_is_accepted(tmp_path):
    drawn = pictures.draw(tmp_path, run_known([0.1, None]), 0.9)
    assert {path.name for path in drawn} == set(pictures.PICTURES)


def test_pictures_leave_pyplot_alone():
    code = (
        'import sys\n'
        'import implicit_loc_trainer.evaluation.pictures\n'
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
