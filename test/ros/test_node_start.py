"""Starts that must fail, each with its reason in one line and a status that is not zero."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

# Three starts in one process: PyTorch takes seconds to import.
FAILING_STARTS = """
import sys
from implicit_loc_ros.localization_node import main
def start(*parameters):
    return main(['--ros-args', *(a for p in parameters for a in ('-p', p))])
codes = [start('checkpoint:=' + path) for path in sys.argv[1:]]
codes.append(start('tf_mode:=sideways'))
print('exit codes', codes)
sys.exit(codes[0])
"""


def test_a_bad_checkpoint_or_parameter_ends_the_start_in_one_line(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    truncated = tmp_path / 'truncated.safetensors'
    truncated.write_bytes(tiny_checkpoint.read_bytes()[:5000])
    command = [sys.executable, '-c', FAILING_STARTS, str(tmp_path / 'missing'), str(truncated)]
    # Both streams in one, as a terminal shows them.
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240
    )
    assert done.returncode == 1
    first, second, third, codes = done.stdout.splitlines()
    assert 'cannot configure' in first
    assert 'does not exist' in first
    assert 'truncated' in second
    assert "'tf_mode' is 'sideways'" in third
    assert codes == 'exit codes [1, 1, 1]'
