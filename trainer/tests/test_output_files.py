"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from implicit_loc_trainer.output_files import OutputError, check_writable, replacing


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
