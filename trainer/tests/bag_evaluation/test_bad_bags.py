"""Bags that lie or are broken: their content counts, or one line says what is wrong."""

import json
import re
from pathlib import Path

import pytest
import yaml
from bag_messages import (
    INFO,
    OPTICAL_TURN,
    START_NS,
    image,
    info,
    make,
    pose_message,
    poses,
    write_bag,
)
from drive_localizer import DriveLocalizer, drive, drive_images, run, stamp


def lying(folder: Path, change) -> Path:
    bag = drive(folder)
    file = bag / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    change(content['rosbag2_bagfile_information'])
    file.write_text(yaml.safe_dump(content))
    return bag


def test_metadata_that_lies_about_numbers_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(content):
        content['message_count'] = 3
        content['duration']['nanoseconds'] = 5
        content['starting_time']['nanoseconds_since_epoch'] = 7
        for topic in content['topics_with_message_count']:
            topic['message_count'] = 1

    bag = lying(tmp_path, change)
    assert run(monkeypatch, DriveLocalizer(), bag, 'm', '--output', tmp_path / 'o') == 0
    figures = json.loads((tmp_path / 'o' / 'figures.json').read_text())
    assert figures['frames'] == 10


def missing_file(folder: Path) -> Path:
    def change(content):
        content['relative_file_paths'] = ['elsewhere.mcap']

    return lying(folder, change)


def truncated(folder: Path) -> Path:
    bag = drive(folder)
    (file,) = bag.glob('*.mcap')
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return bag


def no_bag(folder: Path) -> Path:
    (folder / 'bag').mkdir()
    return folder / 'bag'


def empty_file(folder: Path) -> Path:
    (folder / 'bag.mcap').write_bytes(b'')
    return folder / 'bag.mcap'


def no_messages(folder: Path) -> Path:
    return write_bag(folder, [])


def no_images(folder: Path) -> Path:
    return write_bag(folder, [info(), *poses()])


def no_camera(folder: Path) -> Path:
    return write_bag(folder, [*drive_images(), *poses()])


def no_truth(folder: Path) -> Path:
    return write_bag(folder, [*drive_images(), info()])


def other_time(folder: Path) -> Path:
    late = pose_message('geometry_msgs/PoseStamped', START_NS + 10**12, 0.0, OPTICAL_TURN)
    return write_bag(folder, [*drive_images(), info(), late])


def odd_type(folder: Path) -> Path:
    text = make('std_msgs/String', data='hello')
    return write_bag(folder, [*poses(), ('/chatter', 'std_msgs/msg/String', START_NS, text)])


def odd_encoding(folder: Path) -> Path:
    pictures = [image(stamp(i), 'nv21') for i in range(20)]
    return write_bag(folder, [*pictures, info(), *poses()])


@pytest.mark.parametrize(
    ('make_bag', 'error'),
    [
        (truncated, 'cannot read the bag'),
        (missing_file, 'cannot read the bag'),
        (no_bag, 'cannot read the bag'),
        (empty_file, 'cannot read the bag'),
        (no_messages, 'the bag has nothing'),
        (no_images, f'has no topic of sensor_msgs/msg/Image or .*{INFO}'),
        (no_camera, 'has no topic of sensor_msgs/msg/CameraInfo: the bag has .*/camera/image_raw'),
        (no_truth, 'has no poses: no topic of .*/camera/image_raw'),
        (other_time, 'do not overlap: .*from 1000.000 to 1000.000 s'),
        (odd_type, r'the bag has /chatter \(std_msgs/msg/String\), /poses'),
        (odd_encoding, "the image has the encoding 'nv21'; known are rgb8"),
    ],
)
def test_what_is_wrong_with_a_bag_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, make_bag, error: str
) -> None:
    bag = make_bag(tmp_path)
    assert run(monkeypatch, DriveLocalizer(), bag, 'm', '--output', tmp_path / 'out') == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert said.startswith('implicit-loc evaluate-bag: ')
    assert re.search(error, said), said
    assert not (tmp_path / 'out' / 'figures.json').exists()


def test_several_truths_are_listed_with_the_option_that_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    second = [('/poses2', *message[1:]) for message in poses()]
    bag = drive(tmp_path, *second)
    output = tmp_path / 'out'
    assert run(monkeypatch, DriveLocalizer(), bag, 'm', '--output', output) == 1
    assert re.search('several topics .*/poses, /poses2; .*--truth of', capsys.readouterr().err)
    chosen = ('--output', output, '--truth', '/poses2')
    assert run(monkeypatch, DriveLocalizer(), bag, 'm', *chosen) == 0
