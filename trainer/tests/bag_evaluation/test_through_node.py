"""What comes back from the node is compared and counted; the processes are not part of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drive_localizer import DriveLocalizer, drive, run, true_pose
from scipy.spatial.transform import Rotation

from implicit_loc_trainer.bag_evaluation import through_node, writing
from implicit_loc_trainer.bag_evaluation.alignment import WorldAlignment
from implicit_loc_trainer.bag_evaluation.source import BagFrames, Selection, open_frames
from implicit_loc_trainer.bag_evaluation.through_node import NODE_FIGURE_NAMES, summarize_answers
from implicit_loc_trainer.bag_evaluation.truth import TruthSource
from implicit_loc_trainer.datasets.bag_options import Recording


@pytest.fixture
def source(tmp_path: Path) -> BagFrames:
    bag = drive(tmp_path)
    return open_frames(Recording(bag=bag, root=bag.parent), Selection(), TruthSource())


def answer(index: int, error_m: float, latency_ms: float) -> dict[str, Any]:
    pose = true_pose(index)
    return {
        'stamp': 1000 + index,
        'arrived': 1000 + index + round(latency_ms * 1e6),
        'position': [pose[0, 3] + error_m, pose[1, 3], pose[2, 3]],
        'quaternion': Rotation.from_matrix(pose[:3, :3]).as_quat().tolist(),
        'covariance': [0.0] * 36,
    }


def test_answers_are_compared_by_their_stamps(source: BagFrames) -> None:
    poses = [answer(i, 0.01 * i, 40 + i) for i in (0, 1, 2, 3, 7, 8, 9)]
    # Once more, and of an image that nobody showed.
    poses += [answer(1, 9.0, 400), answer(77, 9.0, 400)]
    poses[6] = answer(9, 0.6, 90)
    found = {
        'stamps': [1000 + i for i in range(10)],
        'poses': poses,
        'refused': {'confidence': 2},
        'late': 0,
    }
    outcome = summarize_answers(source, found)
    figures = outcome.figures
    assert figures.node_availability == 0.7
    assert figures.node_longest_outage_s == pytest.approx(0.4)
    assert figures.node_dropped == 1
    assert figures.node_false_accepts == 1
    assert figures.node_median_translation_m == pytest.approx(0.03)
    assert figures.node_latency_p50_ms == pytest.approx(43.0)
    assert outcome.refused == {'confidence': 2}


def test_an_alignment_is_taken_out_of_the_answers(source: BagFrames) -> None:
    stamps = [1000 + i for i in range(10)]
    poses = [answer(i, 0.5, 40) for i in range(10)]
    found = {'stamps': stamps, 'poses': poses, 'refused': {}, 'late': 0}
    moved = np.eye(4)
    moved[0, 3] = -0.5
    aligned = summarize_answers(source, found, WorldAlignment(moved, 10)).figures
    assert aligned.node_median_translation_m < 1e-6
    assert summarize_answers(source, found).figures.node_false_accepts == 10


def test_a_silent_node_has_figures_all_the_same(source: BagFrames) -> None:
    stamps = list(range(10))
    found = {'stamps': stamps, 'poses': [], 'refused': {'camera': 10}, 'late': 3}
    outcome = summarize_answers(source, found)
    assert outcome.figures.node_availability == 0.0
    assert outcome.figures.node_dropped == 0
    assert math.isnan(outcome.figures.node_latency_p95_ms)
    assert outcome.as_json()['node_latency_p95_ms'] is None
    assert outcome.as_json()['node_images_shown_late'] == 3


def test_its_figures_can_be_required_only_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requirement = f'{NODE_FIGURE_NAMES[0]}>0.5'
    arguments = (drive(tmp_path), 'm', '--output', tmp_path / 'out', '--require', requirement)
    assert run(monkeypatch, DriveLocalizer(), *arguments) == 1
    assert 'names no known figure' in capsys.readouterr().err


def test_the_node_executes_the_network_as_the_evaluation_does(
    source: BagFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []

    def through(bag: Path, source: BagFrames, parameters: dict[str, Any], *_: object) -> object:
        told.append(parameters)
        found = {'stamps': list(range(10)), 'poses': [], 'refused': {}, 'late': 0}
        return summarize_answers(source, found)

    monkeypatch.setattr(writing, 'check_node', lambda: None)
    monkeypatch.setattr(writing, 'through_node', through)
    arguments = (tmp_path / 'bag', 'm', '--output', tmp_path / 'out', '--force', '--through-node')
    localizer = DriveLocalizer()
    assert run(monkeypatch, localizer, *arguments) == 0
    assert localizer.executed == ('auto', None)
    chosen = ('--runtime', 'eager', '--threads', '2', '--device', 'cpu')
    assert run(monkeypatch, localizer, *arguments, *chosen) == 0
    assert localizer.executed == ('eager', 2)
    first, second = told
    assert (first['runtime'], first['threads']) == ('auto', 0)
    assert (second['runtime'], second['threads'], second['device']) == ('eager', 2, 'cpu')


def test_where_there_is_no_ros_it_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(through_node, 'find_spec', lambda _: None)
    localizer = DriveLocalizer()
    arguments = (drive(tmp_path), 'm', '--output', tmp_path / 'out', '--through-node')
    assert run(monkeypatch, localizer, *arguments) == 1
    assert '--through-node needs rclpy' in capsys.readouterr().err
    assert localizer.localized == []
