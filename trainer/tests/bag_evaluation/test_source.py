"""Which images of a bag are evaluated."""

import tracemalloc
from pathlib import Path

import pytest
from bag_messages import OPTICAL_TURN, image, info, pose_message, poses, write_bag
from drive_localizer import DriveLocalizer, drive, drive_images, stamp
from rosbags.rosbag2 import StoragePlugin

from implicit_loc_trainer.bag_evaluation.evaluating import evaluate_bag
from implicit_loc_trainer.bag_evaluation.frame_pictures import FramePictures, evenly_spaced
from implicit_loc_trainer.bag_evaluation.source import Selection, open_frames
from implicit_loc_trainer.bag_evaluation.truth import TruthSource
from implicit_loc_trainer.datasets import DataError
from implicit_loc_trainer.datasets.bag_options import Recording


def opened(bag: Path, selection: Selection | None = None):
    recording = Recording(bag=bag, root=bag.parent)
    return open_frames(recording, selection or Selection(), TruthSource())


@pytest.mark.parametrize(
    ('selection', 'numbers'),
    [
        (Selection(), list(range(10))),
        (Selection(start_s=0.35), [4, 5, 6, 7, 8, 9]),
        (Selection(start_s=0.35, duration_s=0.2), [4, 5]),
        (Selection(every=4), [0, 4, 8]),
        (Selection(start_s=0.1, every=4), [1, 5, 9]),
        (Selection(start_s=0.0, duration_s=0.0), [0]),
    ],
)
def test_start_duration_and_every(
    tmp_path: Path, selection: Selection, numbers: list[int]
) -> None:
    found = opened(drive(tmp_path), selection)
    assert [int(sample.name) for sample in found.samples] == numbers
    # Seconds from the bag's first image, whatever the start.
    assert found.samples[0].timestamp == pytest.approx(0.1 * numbers[0])


def test_a_start_beyond_the_end_says_where_the_end_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'no image of /camera/image_raw is from 5 s on.*0\.900 s'):
        opened(drive(tmp_path), Selection(start_s=5.0))


def test_images_out_of_order_are_sorted_and_counted(tmp_path: Path) -> None:
    messages = drive_images()
    # Received in this order, whatever their headers say.
    order = [0, 1, 3, 2, 4, 5, 6, 9, 8, 7]
    shuffled = [
        (topic, kind, stamp(place), messages[number][3])
        for place, number in enumerate(order)
        for topic, kind in [messages[number][:2]]
    ]
    found = opened(write_bag(tmp_path, [*shuffled, info(), *poses()]))
    assert found.out_of_order == 3
    times = [sample.timestamp for sample in found.samples]
    assert times == sorted(times)
    # The name is the image's number in its topic, and leads to its message.
    assert [int(sample.load_image()[0, 0, 0]) for sample in found.samples] == list(range(10))
    assert found.samples[2].name == '000003'


def test_two_images_of_one_stamp_are_both_evaluated(tmp_path: Path) -> None:
    found = opened(write_bag(tmp_path, [*drive_images(), image(stamp(3)), info(), *poses()]))
    assert len(found.samples) == 11


def unstamped(index: int):
    topic, kind, received, message = drive_images()[index]
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    return topic, kind, received, message


def test_images_without_a_stamp_are_left_out_and_counted(tmp_path: Path) -> None:
    messages = drive_images()
    messages[4] = unstamped(4)
    found = opened(write_bag(tmp_path, [*messages, info(), *poses()]))
    assert (found.images, found.without_stamp) == (10, 1)
    assert [int(sample.name) for sample in found.samples] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_a_camera_that_never_stamps_is_said(tmp_path: Path) -> None:
    messages = [unstamped(index) for index in range(10)]
    with pytest.raises(DataError, match='carry no stamps'):
        opened(write_bag(tmp_path, [*messages, info(), *poses()]))


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    peaks, sizes = [], []
    # The first bag fills what rosbags keeps of message types.
    for count in (20, 20, 300):
        folder = tmp_path / str(len(peaks))
        folder.mkdir()
        true = [
            pose_message('geometry_msgs/PoseStamped', stamp(i), 2 + 0.1 * i, OPTICAL_TURN)
            for i in range(count)
        ]
        pictures = [image(stamp(i), value=i % 250) for i in range(count)]
        bag = write_bag(folder, [*pictures, info(), *true], StoragePlugin.SQLITE3)
        tracemalloc.start()
        samples = opened(bag).samples
        names = [sample.name for sample in samples]
        evaluate_bag(DriveLocalizer(), samples, FramePictures(evenly_spaced(names, 10)), 2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(sum(file.stat().st_size for file in bag.iterdir()))
    assert peaks[2] - peaks[1] < 0.4 * (sizes[2] - sizes[1])
