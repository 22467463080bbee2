"""The demo: recordings are exact, figures are right, and the real node answers over DDS."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('bag_player', reason='pip_ros is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')
from replay import child_process, command, recording, report
from replay.collector import Arrival
from replay.errors import ReplayError
from replay.playback import ANSWERS, DIAGNOSTICS_TOPIC, POSE_TOPIC, TF_TOPIC
from rosbags.rosbag2 import Reader
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera
from implicit_loc_ros.conversions import camera_from_info
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.output_files import OutputError
from implicit_loc_trainer.ros_messages import (
    DIAGNOSTICS_TYPE,
    IMAGE_TYPE,
    POSE_TYPE,
    TYPES,
    camera_info_message,
    matrix_of,
    parsed,
    pose_message,
    stamp_of,
)

OFFSET = 123_456_789_000


def pose(x: float, turn_deg: float = 0.0) -> np.ndarray:
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = Rotation.from_euler('y', turn_deg, degrees=True).as_matrix()
    world_from_camera[:3, 3] = (x, 0.1, 1.0 / 3.0)
    return world_from_camera


def image(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (6, 8, 3), np.uint8)


def samples(count: int) -> list[Sample]:
    camera = Camera(8, 6, 7.0, 7.5, 3.5, 2.5, 'equidistant', (0.1, 0.01, -0.02, 0.003))
    return [
        Sample(f'{i:06d}', camera, pose(0.1 * i, 5.0 * i), float(i), lambda i=i: image(i))
        for i in range(count)
    ]


def read(bag: Path, topic: str) -> list[tuple[int, bytes]]:
    with Reader(bag) as reader:
        connections = [one for one in reader.connections if one.topic == topic]
        return [(stamp, bytes(data)) for _, stamp, data in reader.messages(connections)]


def test_recording_gives_back_images_stamps_and_poses(tmp_path: Path):
    recorded = samples(5)
    frames = recording.frames_at(recorded, 10.0)
    bag = tmp_path / 'bag'
    recording.record(bag, recorded, frames, 'mark')
    images = read(bag, recording.IMAGE_TOPIC)
    truths = read(bag, recording.TRUTH_TOPIC)
    assert np.diff([stamp for stamp, _ in images]).tolist() == [100_000_000] * 4
    for i, frame in enumerate(frames):
        message = parsed(images[i][1], IMAGE_TYPE)
        assert images[i][0] == truths[i][0] == frame.stamp == stamp_of(message.header)
        np.testing.assert_array_equal(message.data.reshape(6, 8, 3), image(i))
        truth = parsed(truths[i][1], POSE_TYPE)
        assert truth.header.frame_id == 'map'
        np.testing.assert_allclose(matrix_of(truth.pose), frame.world_from_camera, atol=1e-12)
        assert matrix_of(truth.pose)[0, 3] == frame.world_from_camera[0, 3]


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('none', ()),
        ('plumb_bob', (0.1, -0.2, 0.001, 0.002, 0.03)),
        ('rational_polynomial', (0.1, -0.2, 0.001, 0.002, 0.03, 0.4, 0.5, 0.6)),
        ('equidistant', (0.1, 0.01, -0.02, 0.003)),
    ],
)
def test_node_reads_the_camera_that_was_recorded(model: str, coefficients: tuple[float, ...]):
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CameraInfo

    camera = Camera(64, 48, 50.0, 51.0, 31.5, 23.5, model, coefficients)
    message = deserialize_message(camera_info_message(1, camera), CameraInfo)
    assert camera_from_info(message) == camera


def test_recording_is_used_again_only_while_it_is_whole_and_the_same(tmp_path: Path):
    recorded, bag = samples(3), tmp_path / 'bag'
    mark = recording.fingerprint(recorded, 10.0)
    assert not recording.is_recorded(bag, mark)
    recording.record(bag, recorded, recording.frames_at(recorded, 10.0), mark)
    assert recording.is_recorded(bag, mark)
    for others in (samples(2), recorded[1:]):
        assert not recording.is_recorded(bag, recording.fingerprint(others, 10.0))
    assert not recording.is_recorded(bag, recording.fingerprint(recorded, 5.0))
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[:-100])
    assert not recording.is_recorded(bag, mark)
    recording.record(bag, recorded, recording.frames_at(recorded, 10.0), mark)
    assert recording.is_recorded(bag, mark)


def test_failed_recording_leaves_nothing_behind(tmp_path: Path):
    def unreadable() -> np.ndarray:
        raise DataError('no such image')

    recorded = [*samples(2), Sample('bad', samples(1)[0].camera, pose(9.0), 2.0, unreadable)]
    with pytest.raises(DataError):
        recording.record(tmp_path / 'bag', recorded, recording.frames_at(recorded, 10.0), '')
    assert list(tmp_path.iterdir()) == []


def test_foreign_folder_is_not_replaced(tmp_path: Path):
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag' / 'thesis.txt').write_text('years of work')
    with pytest.raises(OutputError, match='in the way'):
        recording.record(tmp_path / 'bag', samples(1), recording.frames_at(samples(1), 1.0), '')
    assert (tmp_path / 'bag' / 'thesis.txt').exists()


def transform_message(stamp: int, parent: str) -> bytes:
    types = TYPES.types
    time_stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp, 10**9))
    header = types['std_msgs/msg/Header'](stamp=time_stamp, frame_id=parent)
    motion = types['geometry_msgs/msg/Transform'](
        types['geometry_msgs/msg/Vector3'](0.0, 0.0, 0.0),
        types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
    )
    stamped = types['geometry_msgs/msg/TransformStamped'](header, 'camera', motion)
    message = types['tf2_msgs/msg/TFMessage'](transforms=[stamped])
    return bytes(TYPES.serialize_cdr(message, 'tf2_msgs/msg/TFMessage'))


def diagnostics_message(node: str, refused: dict[str, int]) -> bytes:
    types = TYPES.types
    header = types['std_msgs/msg/Header'](types['builtin_interfaces/msg/Time'](1, 0), '')
    values = {'images received': 9, **{f'refused: {name}': n for name, n in refused.items()}}
    pairs = [types['diagnostic_msgs/msg/KeyValue'](k, str(v)) for k, v in values.items()]
    kind = types['diagnostic_msgs/msg/DiagnosticStatus']
    status = kind(0, f'{node}: localization', '', '', pairs)
    message = types[DIAGNOSTICS_TYPE](header, [status])
    return bytes(TYPES.serialize_cdr(message, DIAGNOSTICS_TYPE))


def answers(frames: list[recording.Frame]) -> list[Arrival]:
    """Poses 1, 2, ... cm and 2 deg off after 40 ms, each twice; none for the last frame."""
    arrivals = []
    # The first true pose is lost on the way.
    for frame in frames[1:]:
        played = frame.stamp + OFFSET
        truth = pose_message(played, frame.world_from_camera)
        arrivals.append(Arrival(recording.TRUTH_TOPIC, played, truth))
    for i, frame in enumerate(frames[:-1]):
        played = frame.stamp + OFFSET
        estimated = frame.world_from_camera @ pose(0.0, 2.0)
        estimated[:3, 3] = frame.world_from_camera[:3, 3] + (0.0, 0.01 * (i + 1), 0.0)
        data = pose_message(played, estimated)
        arrivals.append(Arrival(POSE_TOPIC, played + 40_000_000, data))
        arrivals.append(Arrival(POSE_TOPIC, played + 90_000_000, data))
        parent = 'map' if i else 'odom'
        arrivals.append(Arrival(TF_TOPIC, played, transform_message(played, parent)))
    for node, refused in (
        ('localization_node', {'confidence': 1}),
        ('localization_node', {'confidence': 2, 'jump': 1}),
        ('camera', {'confidence': 7}),
    ):
        data = diagnostics_message(node, refused)
        arrivals.append(Arrival(DIAGNOSTICS_TOPIC, frames[-1].stamp + OFFSET, data))
    return arrivals


def test_report_counts_each_frame_once_and_missing_poses_as_lost():
    frames = recording.frames_at(samples(6), 10.0)
    # The camera stands still for the first three frames.
    still = [
        recording.Frame(f.name, f.stamp, frames[max(i, 2)].world_from_camera)
        for i, f in enumerate(frames)
    ]
    arrivals = answers(still)
    assert report.clock_offset(arrivals, still) == OFFSET
    results = report.results(arrivals, still)
    refused = report.refusals(arrivals)
    figures = report.figures(results, report.transforms_received(arrivals, still), refused)
    assert (figures.frames_played, figures.poses_received, figures.tf_received) == (6, 5, 4)
    assert figures.median_translation_m == pytest.approx(0.035, abs=1e-9)
    assert figures.median_rotation_deg == pytest.approx(2.0, abs=1e-6)
    assert figures.latency_p50_ms == pytest.approx(40.0)
    assert figures.latency_p95_ms == pytest.approx(40.0)
    assert figures.as_json()['p95_translation_m'] is None
    text = report.summary_text(figures)
    assert '5 (83.3 %)' in text
    assert 'images refused   3 (confidence: 2, jump: 1)' in text
    assert figures.as_json()['refused'] == {'confidence': 2, 'jump': 1}


def test_report_needs_the_true_poses():
    frames = recording.frames_at(samples(2), 10.0)
    with pytest.raises(ReplayError, match='true poses'):
        report.clock_offset([Arrival(TF_TOPIC, 0, b'')], frames)


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that the command sets, gone after the test."""
    for name, value in child_process.transport_environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures('transport')
def test_known_errors_are_one_line(
    tmp_path: Path, checkpoint_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / 'file').write_text('')
    output = ['--output', str(tmp_path / 'output')]
    good = ['--checkpoint', str(checkpoint_path)]
    for arguments, reason in (
        (['--checkpoint', str(tmp_path / 'none.safetensors'), *output], 'does not exist'),
        ([*good, '--data', str(tmp_path / 'nowhere'), *output], 'does not exist'),
        ([*good, '--split', str(tmp_path / 'none.txt'), *output], 'cannot read'),
        ([*good, '--output', str(tmp_path / 'file')], 'no folder'),
        ([*good, '--json', str(tmp_path), *output], 'cannot be written'),
    ):
        assert command.main(arguments) == 1, arguments
        errors = capsys.readouterr().err
        assert errors.startswith('demo: ')
        assert reason in errors
        assert errors.count('\n') == 1


@pytest.mark.usefixtures('transport')
def test_demo_plays_its_flight_through_the_real_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output, figures_file = tmp_path / 'output', tmp_path / 'figures.json'
    arguments = ['--frames', '20', '--rate', '2', '--device', 'cpu']
    arguments += ['--output', str(output), '--json', str(figures_file)]
    assert command.main(arguments) == 0, capsys.readouterr().err
    figures = json.loads(figures_file.read_text())
    assert figures['frames_played'] == 20
    # The shipped map is sure of its room, and the flight slow enough for the gate.
    assert figures['refused'] == {}
    assert figures['poses_received'] >= 18
    assert figures['tf_received'] == figures['poses_received']
    assert 0 < figures['latency_p50_ms'] <= figures['latency_p95_ms']
    # The shipped map; the beginning of the flight is harder than its average.
    assert 0 < figures['median_translation_m'] < 0.35
    assert 0 < figures['median_rotation_deg'] < 6
    assert 'frames played    20' in capsys.readouterr().out
    assert (output / 'trajectory.png').stat().st_size > 10_000
    localized = output / 'localized'
    images, poses = read(localized, recording.IMAGE_TOPIC), read(localized, POSE_TOPIC)
    assert len(images) == 20
    assert len(poses) == figures['poses_received']
    stamps = {stamp_of(parsed(data, IMAGE_TYPE).header) for _, data in images}
    assert {stamp_of(parsed(data, POSE_TYPE).header) for _, data in poses} <= stamps
    assert all(read(localized, topic) for topic in ANSWERS)
