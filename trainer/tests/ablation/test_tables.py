"""Tables show what was measured, and never an average of what is not there."""

from pathlib import Path

import pytest

from implicit_loc_trainer.ablation.grid import Row, TableLayout
from implicit_loc_trainer.ablation.results import Result, Results, ResultsError
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.ablation.tables import fill

SCENES = [Scene('7Scenes', 'Chess', 'a'), Scene('7Scenes', 'Fire', 'b'), Scene('', 'Attic', 'c')]


def _result(scene: str, metres: float | None, degrees: float | None, **figures: float) -> Result:
    group = '' if scene == 'Attic' else '7Scenes'
    medians = {'median_translation_m': metres, 'median_rotation_deg': degrees, **figures}
    return Result('base', group, scene, 'f', figures=medians, machine='a machine')


def _layout(layout: str, *rows: Row, average: bool = True) -> TableLayout:
    return TableLayout('t', 'T', layout, ('Method',), rows, average)


OURS = Row(('ours',), 'base')
PUBLISHED = Row(('theirs',), published={'Chess': '0.05/1.42', '7Scenes average': '0.12/3.44'})


def test_a_table_of_scenes_averages_its_groups() -> None:
    results = [_result('Chess', 0.05, 1.5), _result('Fire', 0.15, 4.5), _result('Attic', 1, 2)]
    table = fill(_layout('scenes', PUBLISHED, OURS), SCENES, results)
    assert table.head == ('Method', 'Chess', 'Fire', '7Scenes average', 'Attic')
    assert table.rows[0] == ('theirs', '0.05/1.42', '-', '0.12/3.44', '-')
    assert table.rows[1] == ('ours', '0.05/1.50', '0.15/4.50', '0.10/3.00', '1.00/2.00')
    single = fill(_layout('scenes', OURS, average=False), SCENES, results)
    assert single.head == ('Method', 'Chess', 'Fire', 'Attic')


def test_an_average_needs_every_scene() -> None:
    """Of one that is missing, failed, or lost in the median."""
    table = _layout('averages', OURS)
    chess = _result('Chess', 0.05, 1.5)
    assert fill(table, SCENES, [chess]).rows[0][1] == '-'
    failed = Result('base', '7Scenes', 'Fire', 'f', reason='no memory')
    assert fill(table, SCENES, [chess, failed]).rows[0][1] == 'failed'
    assert fill(table, SCENES, [chess, _result('Fire', None, None)]).rows[0][1] == 'inf'
    found = fill(table, SCENES, [chess, _result('Fire', 0.15, 4.5)])
    assert found.head == ('Method', '7Scenes', 'Attic')
    assert found.rows[0][1] == '0.100/3.00'


def test_run_times_have_the_papers_columns() -> None:
    times = {'rows': 60, 'columns': 80, 'processing_ms': 9.2, 'pose_ms': 4.8, 'total_ms': 14.0}
    table = fill(_layout('run time', OURS), SCENES, [_result('Chess', 0.05, 1.5, **times)])
    assert table.rows[0] == ('ours', '60 x 80', '9.2 ms', '4.8 ms', '14.0 ms - 71 Hz')
    assert fill(_layout('run time', OURS), SCENES, []).rows[0] == ('ours', *'----')


def test_a_label_may_hold_the_run_time() -> None:
    row = Row(('{total_ms} ms',), 'base')
    results = [_result('Chess', 0.05, 1.5, total_ms=14.04)]
    assert fill(_layout('averages', row), SCENES, results).rows[0][0] == '14.0 ms'
    assert fill(_layout('averages', row), SCENES, []).rows[0][0] == '- ms'


def test_ideas_show_the_poses_of_three_solvers_and_their_price() -> None:
    pnp = {'pnp_median_translation_m': 0.04, 'pnp_median_rotation_deg': 1.2}
    robust = {'robust_median_translation_m': 0.03, 'robust_median_rotation_deg': 1.1}
    cost = {'images_seen': 800, 'training_s': 90.0}
    results = [_result('Attic', 0.123, 2.5, **pnp, **robust, **cost)]
    table = fill(_layout('ideas', OURS), SCENES[2:], results)
    assert table.rows[0] == ('ours', '12.3/2.50', '4.0/1.20', '3.0/1.10', '800', '1.5')


def test_a_solver_that_an_older_run_did_not_measure_is_not_run() -> None:
    table = fill(_layout('ideas', OURS), SCENES[2:], [_result('Attic', 0.123, 2.5)])
    assert table.rows[0] == ('ours', '12.3/2.50', '-', '-', '-', '-')


def test_results_are_found_again_also_after_a_kill(tmp_path: Path) -> None:
    """Half a last line is a run that has not ended; the file goes on behind the whole ones."""
    path = tmp_path / 'out' / 'results.jsonl'
    results = Results(path)
    kept, other = _result('Chess', 0.05, None), _result('Fire', 0.1, 2.0)
    results.add(kept)
    with path.open('ab') as file:
        file.write(b'{"variant": "ba')
    results = Results(path)
    results.add(other)
    again = Results(path)
    assert again.find('base', '7Scenes', 'Chess', 'f') == kept
    assert again.find('base', '7Scenes', 'Fire', 'f') == other
    assert again.find('base', '7Scenes', 'Chess', 'another recipe') is None


@pytest.mark.parametrize('line', ['nonsense', '{}', '[1]'])
def test_a_file_of_something_else_is_not_touched(line: str, tmp_path: Path) -> None:
    path = tmp_path / 'results.jsonl'
    path.write_text(f'{line}\n')
    with pytest.raises(ResultsError, match=r'results.jsonl:1'):
        Results(path)
    assert path.read_text() == f'{line}\n'
