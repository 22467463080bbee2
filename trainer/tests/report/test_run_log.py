"""The curves of a run, also of one that was interrupted."""

import numpy as np

from implicit_loc_trainer.report.run_log import read_log


def write_part(folder, name, text):
    (folder / 'log' / name).mkdir(parents=True)
    (folder / 'log' / name / 'metrics.csv').write_text(text)


def test_parts_of_a_resumed_run_make_one_curve(tmp_path):
    """The later part counts where they overlap, and parts are in the order of their numbers."""
    write_part(tmp_path, 'version_2', 'epoch,loss/total,step\n1,5.0,9\n2,4.0,14\n')
    write_part(tmp_path, 'version_10', 'epoch,loss/total,step\n3,3.0,19\n')
    write_part(
        tmp_path, 'version_0',
        'epoch,loss/total,validation/lost,step\n0,9.0,,4\n1,8.0,,9\n2,7.0,1,14\n',
    )  # fmt: skip
    curves = read_log(tmp_path)
    np.testing.assert_array_equal(curves['loss/total'].epochs, [1, 2, 3, 4])
    np.testing.assert_array_equal(curves['loss/total'].values, [9, 5, 4, 3])
    # Measured in an epoch that was trained again: forgotten.
    assert 'validation/lost' not in curves


def test_what_a_crash_left_is_skipped(tmp_path):
    write_part(
        tmp_path, 'version_0', 'epoch,loss/total,step\n0,9.0,4\n1,inf,9\n\0\0\0\n2,nan,1\nx'
    )
    curves = read_log(tmp_path)
    np.testing.assert_array_equal(curves['loss/total'].values, [9.0])


def test_without_a_log_there_are_no_curves(tmp_path):
    assert read_log(tmp_path) == {}
    write_part(tmp_path, 'version_0', '')
    assert read_log(tmp_path / 'nowhere') == {}
    assert read_log(tmp_path) == {}
