"""The result bag holds what was evaluated and what came of it, for viewers of ROS."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_messages import IMAGES, compressed, info, poses, write_bag
from drive_localizer import DriveLocalizer, drive, run, stamp, true_pose
from rosbags.rosbag2 import Reader

from implicit_loc_trainer.ros_messages import TYPES, matrix_of, stamp_of

POSE, COVARIANCE = '/localization_node/pose', '/localization_node/pose_with_covariance'


def messages(bag: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    with Reader(bag) as reader:
        for connection, _, raw in reader.messages():
            message = TYPES.deserialize_cdr(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append(message)
    return found


def test_images_truth_poses_tf_and_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    localizer = DriveLocalizer((0.01, 0.02, None, 0.03, 0.04), (0.9, 0.1, 0.9, 0.9, 0.9))
    arguments = (drive(tmp_path), 'm', '--output', tmp_path / 'out', '--result-bag')
    assert run(monkeypatch, localizer, *arguments, '--start', '0.1') == 0
    found = messages(tmp_path / 'out' / 'localized')
    images, poses = found[IMAGES], found[POSE]
    assert [int(image.data[0]) for image in images] == list(range(1, 10))
    accepted = [3, 4, 5, 8, 9]
    assert [stamp_of(pose.header) for pose in poses] == [stamp(i) for i in accepted]
    for index, pose, both in zip(accepted, poses, found[COVARIANCE], strict=True):
        expected = true_pose(index)
        expected[0, 3] += localizer.errors_m[index % 5]
        np.testing.assert_allclose(matrix_of(pose.pose), expected, atol=1e-9)
        np.testing.assert_allclose(both.pose.covariance, 1e-4 * np.eye(6).ravel())
    assert len(found['/ground_truth/pose']) == len(found['/camera/camera_info']) == 9
    children = [[one.child_frame_id for one in message.transforms] for message in found['/tf']]
    assert children[0] == ['true_camera']
    assert children[2] == ['true_camera', 'localized_camera']
    verdicts = [message.status[0] for message in found['/diagnostics']]
    assert [verdict.level for verdict in verdicts[:3]] == [1, 2, 0]
    assert verdicts[0].message == 'rejected: confidence'
    assert {pair.key: pair.value for pair in verdicts[0].values}['position error (m)'] == '0.02'


def test_compressed_images_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [compressed(stamp(i), '.jpg', 40) for i in range(3)]
    bag = write_bag(tmp_path, [*pictures, info(), *poses()])
    arguments = (bag, 'm', '--output', tmp_path / 'out', '--result-bag')
    assert run(monkeypatch, DriveLocalizer(), *arguments) == 0
    found = messages(tmp_path / 'out' / 'localized')[f'{IMAGES}/compressed']
    for copy, original in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(copy.data, original[3].data)
