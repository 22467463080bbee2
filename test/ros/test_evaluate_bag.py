"""The evaluation of a bag through the real node, and its name among the commands of ROS."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')

from implicit_loc.camera import Camera
from implicit_loc_trainer import cli
from implicit_loc_trainer.bag_writing import new_bag
from implicit_loc_trainer.child_processes import ProcessError
from implicit_loc_trainer.ros_messages import (
    CAMERA_INFO_TYPE,
    IMAGE_TYPE,
    POSE_TYPE,
    camera_info_message,
    image_message,
    pose_message,
)

COUNT, RATE_HZ = 12, 4
START_NS = 1_700_000_000 * 10**9
NO_TRAINER = """
import importlib.util, sys
import implicit_loc_ros.evaluate_bag as command
command.find_spec = lambda name: None
command.main(['bag', 'map'])
"""


@pytest.fixture
def bag(tmp_path: Path, small_camera: Camera) -> Path:
    """Noise, taken by the camera of the untrained checkpoint."""
    types = {'/image': IMAGE_TYPE, '/camera_info': CAMERA_INFO_TYPE, '/truth': POSE_TYPE}
    random = np.random.default_rng(0)
    with new_bag(tmp_path / 'bag', types) as (writer, topics):
        for index in range(COUNT):
            stamp = START_NS + index * 10**9 // RATE_HZ
            shape = (small_camera.height, small_camera.width, 3)
            image = random.integers(0, 256, shape, np.uint8)
            writer.write(topics['/image'], stamp, image_message(stamp, image))
            info = camera_info_message(stamp, small_camera)
            writer.write(topics['/camera_info'], stamp, info)
            writer.write(topics['/truth'], stamp, pose_message(stamp, np.eye(4)))
    return tmp_path / 'bag'


def test_every_image_comes_through_the_node(
    bag: Path, tmp_path: Path, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from implicit_loc_trainer.bag_evaluation import page
    from implicit_loc_trainer.evaluation import pictures

    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    # They take seconds.
    monkeypatch.setattr(pictures, 'draw', lambda *_: [])
    monkeypatch.setattr(page.charts, 'trust_charts', lambda *_: {})
    arguments = ['evaluate-bag', str(bag), str(checkpoint_path), '--through-node']
    # An untrained network is never sure, and its poses leap: what counts is that they arrive.
    arguments += ['--min-confidence', '0', '--output', str(tmp_path / 'out')]
    # An export of the untrained network would take longer than all else.
    arguments += ['--runtime', 'eager']
    assert cli.main([*arguments, '--require', 'node_latency_p50_ms<5000']) == 0
    found = json.loads((tmp_path / 'out' / 'figures.json').read_text())
    answered = round(found['node_availability'] * COUNT)
    # Leaps are refused by the gate, which the evaluation without the node does not have.
    assert answered + sum(found['node_refused'].values()) + found['node_dropped'] == COUNT
    assert found['node_dropped'] <= COUNT // 4
    assert answered >= 1
    assert found['availability'] == 1.0


def test_a_node_that_dies_is_heard(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from implicit_loc_trainer.bag_evaluation import source, through_node, truth
    from implicit_loc_trainer.datasets.bag_options import Recording

    frames = source.open_frames(
        Recording(bag=bag, root=tmp_path), source.Selection(), truth.TruthSource()
    )
    dying = [sys.executable, '-c', 'raise SystemExit("there is no map")']
    monkeypatch.setattr(through_node, '_node_command', lambda *_: dying)
    with pytest.raises(ProcessError, match=r'the node ended with status 1: there is no map'):
        through_node.through_node(bag, frames, {})


def test_the_command_of_ros_is_that_of_the_trainer():
    command = [sys.executable, '-m', 'implicit_loc_ros.evaluate_bag', '--help']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert '--through-node' in done.stdout


def test_without_the_trainer_it_says_what_to_install():
    done = subprocess.run(
        [sys.executable, '-c', NO_TRAINER], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'pip install ./trainer' in done.stderr
    assert done.stderr.count('\n') == 1
