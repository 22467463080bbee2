"""Truth and images meet at the right time and in the right frame."""

from pathlib import Path

import numpy as np
import pytest
from bag_messages import (
    NO_TURN,
    OPTICAL,
    OPTICAL_TURN,
    POSES,
    START_NS,
    info,
    pose_message,
    tf,
    transform,
    write_bag,
)
from drive_localizer import drive, drive_images, stamp, true_pose

from implicit_loc_trainer.bag_evaluation.extrinsic import read_extrinsic
from implicit_loc_trainer.bag_evaluation.source import Selection, open_frames
from implicit_loc_trainer.bag_evaluation.truth import TruthSource
from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.datasets.bag_options import Recording

CLOCK_ERROR_NS = 37_000_000


def opened(bag: Path, truth: TruthSource | None = None, **options):
    recording = Recording(bag=bag, root=bag.parent, **options)
    return open_frames(recording, Selection(), truth or TruthSource())


def late_topic(folder: Path):
    """Poses whose clock is ahead of the camera's, twenty a second."""
    messages = [
        pose_message(
            'geometry_msgs/PoseStamped',
            START_NS + 50_000_000 * i + CLOCK_ERROR_NS,
            2.0 + 0.05 * i,
            OPTICAL_TURN,
        )
        for i in range(-2, 24)
    ]
    return write_bag(folder, [*drive_images(), info(), *messages]), POSES


def late_tf(folder: Path):
    messages = []
    for i in range(-2, 24):
        time = START_NS + 50_000_000 * i + CLOCK_ERROR_NS
        base = transform(time, 'map', 'base_link', (1, 2.0 + 0.05 * i, 2), NO_TURN)
        messages.append(tf('/tf', time, base))
    mount = transform(START_NS, 'base_link', OPTICAL, (0, 0, 1), OPTICAL_TURN)
    messages.append(tf('/tf_static', START_NS, mount))
    return write_bag(folder, [*drive_images(), info(), *messages]), 'tf'


def late_file(folder: Path):
    file = folder / 'truth.tum'
    turn = ' '.join(map(str, OPTICAL_TURN))
    file.write_text(
        ''.join(
            f'{(START_NS + CLOCK_ERROR_NS) * 1e-9 + 0.05 * i:.9f} 1 {2 + 0.05 * i} 3 {turn}\n'
            for i in range(-2, 24)
        )
    )
    return write_bag(folder, [*drive_images(), info()]), str(file)


@pytest.mark.parametrize('write', [late_topic, late_tf, late_file])
def test_a_known_time_offset_makes_the_truth_exact(tmp_path: Path, write) -> None:
    bag, source = write(tmp_path)
    shifted = opened(bag, TruthSource(source, time_offset_s=-CLOCK_ERROR_NS * 1e-9))
    assert len(shifted.samples) == 10
    for index, sample in enumerate(shifted.samples):
        np.testing.assert_allclose(sample.world_from_camera, true_pose(index), atol=1e-6)
    # At 1 m/s, 37 ms are 37 mm.
    unshifted = opened(bag, TruthSource(source)).samples[3].world_from_camera
    np.testing.assert_allclose(true_pose(3)[1, 3] - unshifted[1, 3], 0.037, atol=1e-6)


def test_truth_farther_apart_than_allowed_is_no_truth(tmp_path: Path) -> None:
    bag = drive(tmp_path)
    assert len(opened(bag).samples) == 10
    with pytest.raises(DataError, match=r'do not overlap.*may be 0\.05 s'):
        opened(bag, max_gap_s=0.05)


def test_images_without_truth_are_left_out_and_counted(tmp_path: Path) -> None:
    messages = [
        pose_message('geometry_msgs/PoseStamped', stamp(i), 2 + 0.1 * i, OPTICAL_TURN)
        for i in (2, 3, 4)
    ]
    found = opened(write_bag(tmp_path, [*drive_images(), info(), *messages]))
    assert [sample.name for sample in found.samples] == ['000002', '000003', '000004']
    assert (found.images, found.without_truth) == (10, 7)


@pytest.mark.parametrize('kind', ['numbers', 'commas', 'seven', 'matrix', 'yaml'])
def test_an_extrinsic_is_read_in_every_form(tmp_path: Path, kind: str) -> None:
    words = ['0', '1', '-0.5', *map(str, OPTICAL_TURN)]
    expected = read_extrinsic(' '.join(words))
    np.testing.assert_allclose(expected[:3, 3], (0, 1, -0.5))
    np.testing.assert_allclose(expected[:3, 2], (1, 0, 0), atol=1e-12)
    texts = {
        'seven': ('e.txt', ' '.join(words)),
        'matrix': ('e.txt', '\n'.join(' '.join(map(str, row)) for row in expected)),
        'yaml': (
            'e.yaml',
            f'translation: [0, 1, -0.5]\nrotation: {list(OPTICAL_TURN)}\n',
        ),
    }
    text = ' '.join(words)
    if kind in texts:
        name, content = texts[kind]
        (tmp_path / name).write_text(content)
        text = str(tmp_path / name)
    elif kind == 'commas':
        text = ', '.join(words)
    np.testing.assert_allclose(read_extrinsic(text), expected, atol=1e-12)


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('1 2', 'expected the 7 numbers'),
        ('0 0 0 0 0 0 2', 'length 2'),
        ('0 0 0 0 0 0 one', "'one' is not a number"),
        ('nowhere.txt', 'expected the 7 numbers'),
    ],
)
def test_a_malformed_extrinsic_is_said(text: str, error: str) -> None:
    with pytest.raises(DataError, match=error):
        read_extrinsic(text)


def test_the_extrinsic_leads_from_the_tracked_frame_to_the_camera(tmp_path: Path) -> None:
    messages = [
        pose_message('nav_msgs/Odometry', stamp(i), 2 + 0.1 * i, NO_TURN) for i in range(10)
    ]
    bag = write_bag(tmp_path, [*drive_images(), info(), *messages])
    extrinsic = read_extrinsic(f'0 0 0 {" ".join(map(str, OPTICAL_TURN))}')
    found = opened(bag, tracked_from_camera=extrinsic)
    np.testing.assert_allclose(found.samples[4].world_from_camera, true_pose(4), atol=1e-6)


def test_a_file_gives_the_pose_of_a_frame_of_the_robot(tmp_path: Path) -> None:
    file = tmp_path / 'truth.tum'
    file.write_text(
        ''.join(f'{stamp(i) * 1e-9:.9f} 1 {2 + 0.1 * i} 2 0 0 0 1\n' for i in range(10))
    )
    mount = transform(START_NS, 'base_link', OPTICAL, (0, 0, 1), OPTICAL_TURN)
    bag = write_bag(tmp_path, [*drive_images(), info(), tf('/tf_static', START_NS, mount)])
    found = opened(bag, TruthSource(str(file)), tracked_frame='base_link')
    np.testing.assert_allclose(found.samples[4].world_from_camera, true_pose(4), atol=1e-6)


@pytest.mark.parametrize(
    ('source', 'error'),
    [
        ('/nowhere', r'no topic /nowhere: the bag has .*/poses'),
        ('nowhere.tum', r'nowhere\.tum is no file, and no topic: the bag has .*/poses'),
        ('/camera/camera_info', 'which is none of .*PoseStamped'),
        ('tf', "TF does not move the camera 'camera_optical': .*--camera-frame.*/poses"),
    ],
)
def test_a_truth_that_is_not_there_is_said(tmp_path: Path, source: str, error: str) -> None:
    with pytest.raises(DataError, match=error):
        opened(drive(tmp_path), TruthSource(source))


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('', 'has no poses'),
        ('0.1 1 2 3 0 0 0 1\n0.2 1 2 3 0 0 0 1\n', r'do not overlap: .* --time-offset'),
        ('0.1 1 2 3\n', r'truth\.tum:1: .*found 4 values'),
        ('0.1 1 2 3 0 0 0 nan\n', r'truth\.tum:1: .*not finite'),
    ],
)
def test_a_useless_file_is_said(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / 'truth.tum').write_text(text)
    with pytest.raises(DataError, match=error):
        opened(drive(tmp_path), TruthSource(str(tmp_path / 'truth.tum')))
