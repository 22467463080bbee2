"""Bags that are incomplete where nobody looks, or that a killed recorder left behind."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from bag_messages import START_NS, images, info, make, poses, write_bag
from rosbags.rosbag2 import StoragePlugin

from implicit_loc_trainer.datasets import DataError, open_dataset
from implicit_loc_trainer.datasets.bag_reader import Bag

# Same lengths: both storages say how long their texts are.
UNKNOWN = (rb'(std_msgs/msg/String.{0,4}?)ros2msg', rb'\1unknown')
GARBAGE = (rb'string data', rb'str!ng ?ata')


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bag of messages, one of them not needed; gives what to open."""
    text = make('std_msgs/String', data='hello')
    unrelated = '/chatter', 'std_msgs/msg/String', START_NS, text
    return partial(write_bag, tmp_path, [*images(), info(), *poses(), unrelated])


def spoil(bag: Path, change: tuple[bytes, bytes]) -> None:
    (file,) = (item for item in bag.iterdir() if item.suffix in ('.mcap', '.db3'))
    content, count = re.subn(*change, file.read_bytes(), flags=re.DOTALL)
    assert count
    file.write_bytes(content)


@pytest.mark.parametrize('storage', list(StoragePlugin))
@pytest.mark.parametrize('change', [UNKNOWN, GARBAGE])
def test_the_definition_of_a_topic_that_is_not_read_may_be_missing_or_damaged(
    write: Callable[..., Path], storage: StoragePlugin, change: tuple[bytes, bytes]
) -> None:
    path = write(storage)
    expected = [sample.name for sample in open_dataset(path)]
    spoil(path, change)
    assert [sample.name for sample in open_dataset(path)] == expected


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_topic_that_is_read_needs_a_definition_that_can_be_parsed(
    write: Callable[..., Path], storage: StoragePlugin
) -> None:
    path = write(storage)
    spoil(path, GARBAGE)
    bag = Bag(path)
    with pytest.raises(DataError, match=r'cannot read the bag .*definition of /chatter .*damaged'):
        list(bag.messages('/chatter'))
    bag.close()


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_standard_type_without_a_definition_is_read_as_jazzy_defines_it(
    write: Callable[..., Path], storage: StoragePlugin
) -> None:
    path = write(storage)
    spoil(path, UNKNOWN)
    bag = Bag(path)
    assert [message.data for message in bag.messages('/chatter')] == ['hello']
    bag.close()


@pytest.mark.parametrize('storage', list(StoragePlugin))
def test_a_folder_without_metadata_is_read_by_its_one_file(
    write: Callable[..., Path], storage: StoragePlugin
) -> None:
    path = write(storage)
    expected = [sample.name for sample in open_dataset(path)]
    (path / 'metadata.yaml').unlink()
    samples = open_dataset(path)
    assert [sample.name for sample in samples] == expected
    assert samples[-1].load_image().any()
